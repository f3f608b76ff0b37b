//! `deckle review -f` over files that grow, are rotated, cut short, or not there yet; alerts and their command.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::review::{Running, run, until};
use crate::support::{PATIENCE, TempDir};

/// The program at work; its lines as they come.
struct Following {
    child: Running,
    out: Receiver<String>,
    told: Receiver<String>,
}

/// The lines of a pipe.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    receive
}

impl Following {
    fn start(path: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
            .args(["review", "--follow"])
            .arg(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, told) = (lines_of(child.stdout.take().unwrap()), lines_of(child.stderr.take().unwrap()));
        Self { child: Running(child), out, told }
    }

    fn stdin(&mut self) -> ChildStdin {
        self.child.0.stdin.take().unwrap()
    }

    /// The next line is an alert that says this.
    fn alert(&self, expected: &str) {
        let line = self.out.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{expected}: {error}"));
        let (time, text) = line.split_once(' ').unwrap();
        assert!(time.len() == 20 && time.ends_with('Z'), "{line}");
        assert!(text == expected || text.starts_with(&format!("{expected}; worst visitor: ")), "{expected}: {line}");
    }

    /// The next line on standard error.
    fn told(&self) -> String {
        self.told.recv_timeout(PATIENCE).unwrap()
    }

    /// Exit code, what else was printed, what else was told.
    fn end(mut self) -> (Option<i32>, String, String) {
        let mut ended = None;
        until("it does not end", || {
            ended = self.child.0.try_wait().unwrap();
            ended.is_some()
        });
        let rest = |lines: Receiver<String>| lines.iter().map(|line| line + "\n").collect::<String>();
        (ended.unwrap().code(), rest(self.out), rest(self.told))
    }

    fn interrupt(self) -> (Option<i32>, String, String) {
        let pid = self.child.0.id().to_string();
        #[cfg(target_os = "linux")]
        until("it does not catch the signal", || {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
        });
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.end()
    }
}

/// The next line of one visitor's.
fn next(count: &mut u32) -> String {
    *count += 1;
    format!(
        "203.0.113.9 - - [20/Nov/2025:10:{:02}:{:02} +0000] \"GET /a/{count:04} HTTP/1.1\" 200 1 \"-\" \"curl/8\"\n",
        *count / 60,
        *count % 60
    )
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const PAGES: [&str; 12] = [
    "--fail-if",
    "pages_by_one>=3",
    "--fail-if",
    "pages_by_one>=6",
    "--fail-if",
    "pages_by_one>=9",
    "--fail-if",
    "pages_by_one>=10",
    "--fail-if",
    "pages_by_one>=11",
    "--json",
    "-",
];

#[test]
fn a_log_is_followed_from_before_it_is_there_through_rotation_and_cuts() {
    let (dir, mut count) = (TempDir::new(), 0);
    let log = dir.path().join("access.log");
    let mut lines = |number: u32| (0..number).map(|_| next(&mut count)).collect::<String>();
    let following = Following::start(&log, &PAGES);
    assert_eq!(following.told(), format!("deckle: waits for `{}`", log.display()));
    append(&log, &lines(3));
    following.alert("pages_by_one>=3 holds: 3");
    // A line counts when it is whole.
    let more = lines(3);
    let (some, rest) = more.split_at(more.len() - 20);
    append(&log, some);
    append(&log, rest);
    following.alert("pages_by_one>=6 holds: 6");
    // The server writes into the renamed file until it is told.
    let rotated = dir.path().join("access.log.1");
    std::fs::rename(&log, &rotated).unwrap();
    append(&rotated, &lines(1));
    append(&log, &lines(2));
    following.alert("pages_by_one>=9 holds: 9");
    // In its place, and shorter.
    std::fs::write(&log, lines(1)).unwrap();
    following.alert("pages_by_one>=10 holds: 10");
    append(&log, &lines(1));
    following.alert("pages_by_one>=11 holds: 11");
    let (code, out, told) = following.interrupt();
    assert_eq!(code, Some(130), "{told}");
    let report = json(&out);
    assert_eq!((&report["quality"]["hits"], &report["quality"]["lines"]), (&11.into(), &11.into()), "{out}");
    assert_eq!(report["source"]["partial"], false, "it had caught up");
    assert!(told.contains("input_changed: ") && told.contains("was cut short"), "{told}");
}

fn own(count: &mut u32) -> String {
    *count += 1;
    format!(
        "{{\"v\":1,\"time\":\"2025-11-20T10:00:{count:02}.000Z\",\"deckle.seq\":{count},\"deckle.instance\":\"w\",\"url.path\":\"/a-b-c-{count}\",\"http.response.status_code\":200,\"client.address\":\"203.0.113.9\",\"deckle.visitor.id\":\"x\",\"deckle.visitor.category\":\"library\",\"deckle.page.kind\":\"article\"}}\n"
    )
}

#[test]
fn new_segments_are_read_and_none_is_read_twice() {
    let (dir, mut count) = (TempDir::new(), 0);
    let segment = |number: u32| dir.path().join(format!("audit-w-20251120T100000Z-{number}.ndjson"));
    let mut lines = |number: u32| (0..number).map(|_| own(&mut count)).collect::<String>();
    let first = lines(3);
    append(&segment(1), &first);
    let following = Following::start(dir.path(), &PAGES);
    following.alert("pages_by_one>=3 holds: 3");
    // It is closed and compressed, and the next one opened.
    let compressed = zstd::encode_all(first.as_bytes(), 1).unwrap();
    std::fs::write(dir.path().join("audit-w-20251120T100000Z-1.ndjson.zst"), compressed).unwrap();
    std::fs::remove_file(segment(1)).unwrap();
    append(&segment(2), &lines(3));
    following.alert("pages_by_one>=6 holds: 6");
    append(&segment(2), &lines(3));
    following.alert("pages_by_one>=9 holds: 9");
    let (code, out, told) = following.interrupt();
    let report = json(&out);
    assert_eq!((code, &report["quality"]["hits"]), (Some(130), &9.into()), "{told}");
    assert_eq!(report["quality"]["holes"], 0);
}

/// As `logrotate` does with `copytruncate`, in a directory that is followed as a whole.
#[test]
fn a_copy_of_what_was_read_is_not_read_again() {
    let (dir, mut count) = (TempDir::new(), 0);
    let log = dir.path().join("access.log");
    let mut lines = |number: u32| (0..number).map(|_| next(&mut count)).collect::<String>();
    append(&log, &lines(3));
    let following = Following::start(dir.path(), &PAGES);
    following.alert("pages_by_one>=3 holds: 3");
    std::fs::copy(&log, dir.path().join("access.log.1")).unwrap();
    std::fs::write(&log, "").unwrap();
    until("the cut is not seen", || {
        let told = following.told.try_recv();
        told.is_ok_and(|told| told.contains("was cut short"))
    });
    append(&log, &lines(3));
    following.alert("pages_by_one>=6 holds: 6");
    append(&log, &lines(3));
    following.alert("pages_by_one>=9 holds: 9");
    let (_, out, told) = following.interrupt();
    assert_eq!(json(&out)["quality"]["hits"], 9, "{told}");
}

#[test]
fn standard_input_is_followed_to_its_end() {
    let mut count = 0;
    let mut following = Following::start(Path::new("-"), &["--fail-if", "requests_by_one>=2", "--json", "-"]);
    let mut stdin = following.stdin();
    stdin.write_all(next(&mut count).as_bytes()).unwrap();
    stdin.write_all(next(&mut count).as_bytes()).unwrap();
    following.alert("requests_by_one>=2 holds: 2");
    // What comes last counts, too.
    stdin.write_all(next(&mut count).as_bytes()).unwrap();
    drop(stdin);
    let (code, out, told) = following.end();
    assert_eq!((code, &json(&out)["quality"]["hits"]), (Some(3), &3.into()), "{told}");
    assert!(told.contains("requests_by_one>=2 holds: 3"), "{told}");
}

/// A condition with a window is about now: it holds no longer when an hour has passed in the log.
#[test]
fn a_window_is_the_last_one() {
    let dir = TempDir::new();
    let log = dir.path().join("access.log");
    let line = |address: u32, time: &str| {
        format!(
            "203.0.113.{address} - - [20/Nov/2025:{time} +0000] \"GET /a/{address} HTTP/1.1\" 200 1 \"-\" \"curl/8\"\n"
        )
    };
    append(&log, &(line(1, "10:00:00") + &line(1, "10:00:01") + &line(2, "18:00:00")));
    // At the start it is long past; together with the others of its time it is not.
    let conditions = ["--fail-if", "requests_by_one>=2/1h", "--fail-if", "requests_by_one>=3"];
    let following = Following::start(&log, &conditions);
    append(&log, &line(1, "18:00:01"));
    following.alert("requests_by_one>=3 holds: 3");
    append(&log, &line(2, "18:00:02"));
    following.alert("requests_by_one>=2/1h holds: 2");
    assert_eq!(following.interrupt().0, Some(130));
}

/// Lines of a file that a command writes.
fn written(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn an_alert_runs_its_command_once() {
    let (dir, mut count) = (TempDir::new(), 0);
    let (log, alerts) = (dir.path().join("access.log"), dir.path().join("alerts"));
    let mut lines = |number: u32| (0..number).map(|_| next(&mut count)).collect::<String>();
    append(&log, &lines(3));
    let command = format!("cat >> {0}; printf '%s\\n' \"$DECKLE_ALERT_CONDITION\" >> {0}", alerts.display());
    let conditions = ["--fail-if", "requests_by_one>=3", "--fail-if", "requests_by_one>=5", "--alert-cmd", &command];
    let following = Following::start(&log, &conditions);
    following.alert("requests_by_one>=3 holds: 3");
    until("the command does not run", || written(&alerts).len() == 2);
    append(&log, &lines(2));
    following.alert("requests_by_one>=5 holds: 5");
    append(&log, &lines(1));
    assert_eq!(following.interrupt().0, Some(130));
    let told = written(&alerts);
    assert_eq!((told.len(), told[1].as_str(), told[3].as_str()), (4, "requests_by_one>=3", "requests_by_one>=5"));
    let first = json(&told[0]);
    assert_eq!((&first["condition"], &first["value"]), (&"requests_by_one>=3".into(), &3.0.into()));

    // At the end of a review that follows nothing, too.
    std::fs::remove_file(&alerts).unwrap();
    let log = log.display().to_string();
    let (code, _, error) = run(&[&["review", &log][..], &conditions[..]].concat());
    let mut told: Vec<String> = written(&alerts).into_iter().filter(|line| !line.starts_with('{')).collect();
    told.sort();
    assert_eq!((code, told), (3, vec!["requests_by_one>=3".to_owned(), "requests_by_one>=5".to_owned()]), "{error}");
    // What goes wrong there is told, and changes nothing.
    let (code, out, error) = run(&["review", &log, "--fail-if", "requests_by_one>=3", "--alert-cmd", "exit 7"]);
    assert!(code == 3 && out.contains("requests"), "{code} {out}");
    assert!(error.contains("--alert-cmd for requests_by_one>=3") && error.contains("exit status: 7"), "{error}");
    let (code, _, error) = run(&["review", &log, "--alert-cmd", "true"]);
    assert!(code == 2 && error.contains("--fail-if"), "{error}");
}

#[test]
fn who_waits_in_vain_may_give_up() {
    let dir = TempDir::new();
    let log: PathBuf = dir.path().join("access.log");
    let following = Following::start(&log, &[]);
    assert!(following.told().contains("waits for"));
    let (code, out, _) = following.interrupt();
    assert_eq!((code, out.as_str()), (Some(130), ""));
}
