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
use super::json::ObjectWriter;

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

/// A head, and what is to be done once it has arrived.
pub(super) type Leaving = (SignedHead, Box<dyn FnOnce() + Send>);
/// The way of heads to the thread that sends them on.
pub(super) type Heads = SyncSender<Leaving>;

impl SignedHead {
    /// What the log, or `audit.index`, says of it once it has left.
    pub(super) fn tell(&self, object: &mut ObjectWriter<'_>, to: &str) {
        object.text("to", to);
        object.text("sent", &self.time);
        object.number("seq", self.seq);
        object.text("head", &HEXLOWER.encode(&self.head));
        object.text("key.id", &self.key);
        object.text("sig", &self.signature);
    }
}

impl Anchor {
    /// Where heads go, without what may be a secret: a command may hold a password.
    pub(super) fn destination(&self) -> String {
        match self {
            Self::Command(_) => "command".to_owned(),
            other => other.to_string(),
        }
    }

    /// Sends a head, with `otlp` by way of `heads`; `sent` is called once it has left. What goes wrong is a warning: the
    /// log itself goes on.
    pub(super) fn send(&self, head: &SignedHead, heads: Option<&Heads>, sent: impl FnOnce() + Send + 'static) {
        let left = match self {
            Self::None => return,
            Self::Syslog => syslog(head),
            // It is told once the receiver has taken it.
            Self::Otlp => return self.warn(hand_over(heads, (head.clone(), Box::new(sent)))),
            Self::File(path) => std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(format!("{head}\n").as_bytes())),
            // It tells by itself.
            Self::Command(line) => return self.warn(run(line, head, sent)),
        };
        if left.is_ok() {
            sent();
        }
        self.warn(left);
    }

    fn warn(&self, left: std::io::Result<()>) {
        if let Err(error) = left {
            let anchor = self.destination();
            tracing::warn!(target: "deckle::audit", %error, %anchor, "A head of the audit log was not anchored.");
        }
    }
}

fn hand_over(heads: Option<&Heads>, head: Leaving) -> std::io::Result<()> {
    let taken = heads.is_some_and(|heads| heads.try_send(head).is_ok());
    taken.then_some(()).ok_or_else(|| std::io::Error::other("nobody takes it, or too many are waiting"))
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
fn run(line: &str, head: &SignedHead, sent: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    static RUNNING: AtomicBool = AtomicBool::new(false);
    if RUNNING.swap(true, Ordering::AcqRel) {
        return Err(std::io::Error::other("the command of the head before is still running"));
    }
    let started = start(line, head, &RUNNING, sent);
    if started.is_err() {
        RUNNING.store(false, Ordering::Release);
    }
    started
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, that has nothing else to do")]
fn start(
    line: &str,
    head: &SignedHead,
    running: &'static AtomicBool,
    sent: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
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
        if ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
            sent();
        } else {
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
    fn what_was_sent_is_told_and_no_secret_with_it() {
        let told = |anchor: &str| {
            let (tell, told) = std::sync::mpsc::channel();
            anchor.parse::<Anchor>().unwrap().send(&head(), None, move || tell.send(()).unwrap());
            told.recv_timeout(LONGEST).is_ok()
        };
        // Only one command runs at a time, and each is waited for.
        assert!(told("command:cat >/dev/null") && !told("command:exit 1") && !told("file:/nowhere/at/all"));
        assert_eq!(Anchor::Command("curl -u me:word".into()).destination(), "command");
        assert_eq!(Anchor::File("/mnt/heads.txt".into()).destination(), "file:/mnt/heads.txt");
        let mut line = Vec::new();
        let mut object = ObjectWriter::new(&mut line);
        head().tell(&mut object, "command");
        object.end();
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((line["to"].as_str(), line["seq"].as_u64()), (Some("command"), Some(9)));
        assert_eq!(line["head"].as_str(), Some("01".repeat(32).as_str()));
    }

    fn head() -> SignedHead {
        SignedHead {
            time: "2026-11-23T20:45:12.345Z".into(),
            instance: "w1".into(),
            segment: "audit-w1-x-1.ndjson".into(),
            seq: 9,
            head: [1; 32],
            key: "01234567".into(),
            signature: "c2ln".into(),
        }
    }

    #[test]
    fn what_is_handed_over_is_told_by_who_takes_it() {
        let (tell, told) = std::sync::mpsc::channel();
        let (heads, taken) = std::sync::mpsc::sync_channel(1);
        Anchor::Otlp.send(&head(), Some(&heads), move || tell.send(()).unwrap());
        let (head, sent) = taken.try_recv().unwrap();
        assert_eq!((head.seq, told.try_recv().is_ok()), (9, false));
        sent();
        assert!(told.try_recv().is_ok());
    }

    #[test]
    fn heads_reach_a_file() {
        let path = std::env::temp_dir().join(format!("deckle-anchor-{}", std::process::id()));
        let anchor = Anchor::File(path.clone());
        anchor.send(&head(), None, || {});
        anchor.send(&head(), None, || {});
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("2026-11-23T20:45:12.345Z w1 audit-w1-x-1.ndjson 9 0101"), "{text}");
        std::fs::remove_file(path).unwrap();
    }
}
