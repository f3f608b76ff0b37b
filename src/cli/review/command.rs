//! `--alert-cmd`: a command of the operator's, once for each condition that begins to hold.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use super::alerts::Alert;
use crate::cli::output;
use crate::clock::{Clock, SystemClock};

/// A command that takes longer is killed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the command beside everything else, one at a time for each condition.
pub(super) struct Runner {
    command: String,
    running: Vec<Option<JoinHandle<()>>>,
}

impl Runner {
    pub(super) fn new(command: &str, conditions: usize) -> Self {
        Self { command: command.to_owned(), running: (0..conditions).map(|_| None).collect() }
    }

    /// Starts it for the condition at this place.
    pub(super) fn start(&mut self, at: usize, alert: &Alert) {
        let Some(running) = self.running.get_mut(at) else { return };
        if running.as_ref().is_some_and(|thread| !thread.is_finished()) {
            tell(alert, "it is still running");
            return;
        }
        let (command, alert) = (self.command.clone(), alert.clone());
        let work = move || {
            if let Err(why) = run(&command, &alert, PATIENCE) {
                tell(&alert, &why);
            }
        };
        *running = std::thread::Builder::new().name("deckle-alert".to_owned()).spawn(work).ok();
    }

    /// Until all of them have ended.
    pub(super) fn wait(&mut self) {
        for thread in self.running.iter_mut().filter_map(Option::take) {
            let _ = thread.join();
        }
    }
}

fn tell(alert: &Alert, why: &str) {
    let _ = writeln!(std::io::stderr().lock(), "deckle: --alert-cmd for {}: {}", alert.condition, output::clean(why));
}

/// What went wrong, in words.
fn run(command: &str, alert: &Alert, patience: Duration) -> Result<(), String> {
    let mut child = shell(command)
        .env("DECKLE_ALERT", alert.to_string())
        .env("DECKLE_ALERT_CONDITION", &alert.condition)
        .env("DECKLE_ALERT_VALUE", alert.value.to_string())
        .env("DECKLE_ALERT_VISITOR", &alert.visitor)
        .stdin(Stdio::piped())
        // Standard output is the report's.
        .stdout(Stdio::from(std::io::stderr()))
        .spawn()
        .map_err(|error| format!("it cannot be run: {error}"))?;
    // Whoever does not read it has closed it.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(alert.json().as_bytes());
    }
    let clock = SystemClock::new();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("it failed ({status})")),
            Ok(None) if clock.elapsed() < patience => std::thread::park_timeout(LOOK),
            Ok(None) => {
                kill(&mut child);
                return Err(format!("it was killed after {} s", patience.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// In a group of its own, so that nothing of it is left when it is killed, and Ctrl-C ends deckle alone.
fn shell(command: &str) -> Command {
    let (program, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut shell = Command::new(program);
    shell.arg(flag).arg(command);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    shell
}

fn kill(child: &mut Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process_group};
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        Alert {
            time: "2026-11-20T10:00:00Z".to_owned(),
            condition: "fake_bots>0".to_owned(),
            value: 2.0,
            visitor: "fake GPTBot at 203.0.113.9".to_owned(),
        }
    }

    #[test]
    fn the_command_is_told_in_its_environment_and_on_its_standard_input() {
        let path = std::env::temp_dir().join(format!("deckle-alert-{}", std::process::id()));
        let command = format!(
            "printf '%s\\n' \"$DECKLE_ALERT\" \"$DECKLE_ALERT_CONDITION\" \"$DECKLE_ALERT_VALUE\" \"$DECKLE_ALERT_VISITOR\" > {0}; cat >> {0}",
            path.display()
        );
        assert_eq!(run(&command, &alert(), PATIENCE), Ok(()));
        let told = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "fake_bots>0 holds: 2; worst visitor: fake GPTBot at 203.0.113.9",
                "fake_bots>0",
                "2",
                "fake GPTBot at 203.0.113.9"
            ]
        );
        let json: serde_json::Value = serde_json::from_str(lines[4]).unwrap();
        assert_eq!((&json["time"], &json["value"]), (&"2026-11-20T10:00:00Z".into(), &2.0.into()));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_fails_or_never_ends_is_told() {
        assert!(run("exit 3", &alert(), PATIENCE).unwrap_err().contains("exit status: 3"));
        // With what it has started: nothing holds the pipe that `wait` would wait for.
        let why = run("sleep 600 & sleep 600", &alert(), Duration::from_millis(1)).unwrap_err();
        assert!(why.starts_with("it was killed after"), "{why}");
    }
}
