//! `audit.anchor`: signed heads leave the machine, so that whoever holds log and key cannot rewrite what came before.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::chain::Digest;

/// Where signed heads go: `none`, `syslog`, `otlp`, `file:PATH` or `command:LINE`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Anchor {
    /// Nowhere.
    #[default]
    None,
    /// The system's log (`/dev/log`, RFC 3164), from where it may be sent on.
    Syslog,
    /// The receiver of `audit.otlp`, as log records named `deckle.audit.head`.
    Otlp,
    /// One line each, at the end of a file; on another machine, if it is to be of use.
    File(PathBuf),
    /// A command, by `sh -c`, with the line on its standard input; it may ask a time-stamp service (RFC 3161).
    Command(String),
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "syslog" => Ok(Self::Syslog),
            None if text == "otlp" => Ok(Self::Otlp),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("command", line)) if !line.trim().is_empty() => Ok(Self::Command(line.to_owned())),
            _ => Err(format!("`{text}` is not one of none, syslog, otlp, file:PATH, command:LINE")),
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Syslog => f.write_str("syslog"),
            Self::Otlp => f.write_str("otlp"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command(line) => write!(f, "command:{line}"),
        }
    }
}

impl Serialize for Anchor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Anchor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A head and its signature.
#[derive(Debug, Clone)]
pub(super) struct SignedHead {
    pub(super) time: String,
    pub(super) instance: String,
    pub(super) segment: String,
    pub(super) seq: u64,
    pub(super) head: Digest,
    pub(super) key: String,
    pub(super) signature: String,
}

impl fmt::Display for SignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, instance, segment, seq, head, key, signature } = self;
        write!(f, "{time} {instance} {segment} {seq} {} {key} {signature}", HEXLOWER.encode(head))
    }
}

/// The way of heads to the thread that sends them on.
pub(super) type Heads = SyncSender<SignedHead>;

impl Anchor {
    /// Sends a head, with `otlp` by way of `heads`. What goes wrong is a warning: the log itself goes on.
    pub(super) fn send(&self, head: &SignedHead, heads: Option<&Heads>) {
        let sent = match self {
            Self::None => Ok(()),
            Self::Syslog => syslog(head),
            Self::Otlp if heads.is_some_and(|heads| heads.try_send(head.clone()).is_ok()) => Ok(()),
            Self::Otlp => Err(std::io::Error::other("nobody takes it, or too many are waiting")),
            Self::File(path) => std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(format!("{head}\n").as_bytes())),
            Self::Command(line) => run(line, head),
        };
        if let Err(error) = sent {
            tracing::warn!(target: "deckle::audit", %error, anchor = %self, "A head of the audit log was not anchored.");
        }
    }
}

#[cfg(unix)]
fn syslog(head: &SignedHead) -> std::io::Result<()> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    // Whoever does not read must not hold up the log.
    socket.set_nonblocking(true)?;
    // local0.notice
    socket.send_to(format!("<133>deckle-audit: {head}").as_bytes(), "/dev/log").map(|_| ())
}

#[cfg(not(unix))]
fn syslog(_: &SignedHead) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// The longest that a command may take.
const LONGEST: Duration = Duration::from_secs(30);

/// The command runs beside the log, which does not wait for it. One at a time: who is slow misses heads.
fn run(line: &str, head: &SignedHead) -> std::io::Result<()> {
    static RUNNING: AtomicBool = AtomicBool::new(false);
    if RUNNING.swap(true, Ordering::AcqRel) {
        return Err(std::io::Error::other("the command of the head before is still running"));
    }
    let started = start(line, head, &RUNNING);
    if started.is_err() {
        RUNNING.store(false, Ordering::Release);
    }
    started
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, that has nothing else to do")]
fn start(line: &str, head: &SignedHead, running: &'static AtomicBool) -> std::io::Result<()> {
    const LOOK: Duration = Duration::from_millis(100);
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let text = format!("{head}\n");
    let name = "deckle-anchor".to_owned();
    std::thread::Builder::new().name(name).spawn(move || {
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(text.as_bytes());
        }
        let mut left = LONGEST.as_millis() / LOOK.as_millis();
        let ended = loop {
            match child.try_wait() {
                Ok(None) if left == 0 => {
                    let _ = child.kill();
                    break child.wait();
                }
                Ok(None) => std::thread::sleep(LOOK),
                Ok(Some(status)) => break Ok(status),
                Err(error) => break Err(error),
            }
            left -= 1;
        };
        running.store(false, Ordering::Release);
        if !ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
            tracing::warn!(target: "deckle::audit", ?ended, "The command of `audit.anchor` failed.");
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_read_and_written_back() {
        for text in ["none", "syslog", "otlp", "file:/mnt/heads.txt", "command:curl -T - https://x/"] {
            assert_eq!(text.parse::<Anchor>().unwrap().to_string(), text);
        }
        for text in ["", "file:", "command: ", "otlp:x", "mail:me"] {
            assert!(text.parse::<Anchor>().is_err(), "{text}");
        }
    }

    #[test]
    fn heads_reach_a_file() {
        let path = std::env::temp_dir().join(format!("deckle-anchor-{}", std::process::id()));
        let head = SignedHead {
            time: "2026-11-23T20:45:12.345Z".into(),
            instance: "w1".into(),
            segment: "audit-w1-x-1.ndjson".into(),
            seq: 9,
            head: [1; 32],
            key: "01234567".into(),
            signature: "c2ln".into(),
        };
        let anchor = Anchor::File(path.clone());
        anchor.send(&head, None);
        anchor.send(&head, None);
        let (heads, taken) = std::sync::mpsc::sync_channel(1);
        Anchor::Otlp.send(&head, Some(&heads));
        assert_eq!(taken.try_recv().unwrap().seq, 9);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("2026-11-23T20:45:12.345Z w1 audit-w1-x-1.ndjson 9 0101"), "{text}");
        std::fs::remove_file(path).unwrap();
    }
}
