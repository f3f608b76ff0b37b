//! Lines about the log, written without a thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::{Broken, alone, lines_of, of_kind};
use crate::audit::anchor::SignedHead;
use crate::audit::writer::Writer;
use crate::audit::{Anchor, Settings};
use crate::clock::ManualClock;
use crate::unit::Size;

/// A writer, its disk of so many bytes, and its clock. A block has so many lines.
struct Alone {
    writer: Writer,
    disk: Arc<Broken>,
    clock: Arc<ManualClock>,
}

impl Alone {
    fn new(name: &str, checkpoint_lines: usize) -> Self {
        let dir = std::env::temp_dir().join(format!("deckle-{name}-{}", std::process::id()));
        let settings = Settings {
            dir: dir.display().to_string(),
            instance: Some("w1".into()),
            min_free: Size(0),
            anchor: Anchor::File(dir.join("heads.txt")),
            checkpoint_lines,
            ..Settings::default()
        };
        let clock = ManualClock::at(1_790_000_000);
        let (writer, disk) = alone(&settings, clock.clone());
        Self { writer, disk, clock }
    }

    fn lines(&self) -> Vec<Value> {
        lines_of(&self.disk)
    }

    /// Heads that have left and are to be told of.
    fn left(&self, seqs: &[u64]) {
        let head = |seq: &u64| SignedHead {
            time: "2026-09-21T00:00:00.000Z".into(),
            instance: "w1".into(),
            segment: "s".into(),
            seq: *seq,
            head: [7; 32],
            key: "k".into(),
            signature: "x".into(),
        };
        self.writer.anchored.lock().unwrap().extend(seqs.iter().map(head));
    }

    fn waiting(&self) -> Vec<u64> {
        self.writer.anchored.lock().unwrap().iter().map(|head| head.seq).collect()
    }

    /// The heads of which the log tells.
    fn told(&self) -> Vec<u64> {
        of_kind(&self.lines(), "anchored").iter().map(|line| line["seq"].as_u64().unwrap()).collect()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.writer.dir);
    }
}

#[test]
fn a_block_is_closed_behind_lines_about_the_log_too() {
    let mut alone = Alone::new("full-blocks", 4);
    for _ in 0..21 {
        assert!(alone.writer.note("gap", |_| {}));
    }
    alone.writer.end_segment("shutdown");
    let lines = alone.lines();
    let count = |line: &&Value| line["n"].as_u64().unwrap();
    let (blocks, ends) = (of_kind(&lines, "checkpoint"), of_kind(&lines, "end"));
    assert!(blocks.len() >= 5 && blocks.iter().map(count).all(|lines| lines == 4), "{blocks:?}");
    assert!(ends.len() == 1 && ends.iter().map(count).all(|lines| lines <= 5), "{ends:?}");
    let covered: u64 = blocks.iter().chain(&ends).map(count).sum();
    assert_eq!(covered, lines.len() as u64 - 1, "all but the first line");
}

#[test]
fn heads_are_told_of_when_there_is_room_again() {
    let mut alone = Alone::new("heads-wait", 1_024);
    let before = alone.disk.room.load(Ordering::SeqCst);
    alone.left(&[1]);
    alone.writer.tell_anchored();
    let one = before - alone.disk.room.load(Ordering::SeqCst);
    assert_eq!((alone.told(), alone.waiting()), (vec![1], vec![]));
    // There is room for one more.
    alone.disk.room.store(one + one / 2, Ordering::SeqCst);
    alone.left(&[2, 3, 4]);
    alone.writer.tell_anchored();
    alone.left(&[5]);
    assert_eq!((alone.told(), alone.waiting()), (vec![1, 2], vec![3, 4, 5]));
    alone.disk.room.store(1_000_000, Ordering::SeqCst);
    alone.clock.advance(Duration::from_secs(60));
    alone.writer.tell_anchored();
    assert_eq!((alone.told(), alone.waiting()), (vec![1, 2, 3, 4, 5], vec![]));
}
