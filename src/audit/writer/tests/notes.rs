//! Lines about the log, written without a thread.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::Value;

use super::{Broken, Disk, of_kind};
use crate::audit::privacy::Pseudonyms;
use crate::audit::writer::{Surroundings, Writer};
use crate::audit::{Anchor, Settings};
use crate::clock::ManualClock;
use crate::unit::Size;

/// A writer, and its disk. A block has so many lines.
struct Alone {
    writer: Writer,
    disk: Arc<Broken>,
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
        let disk = Arc::new(Broken { room: AtomicU64::new(1_000_000), ..Broken::default() });
        let outside = Surroundings {
            clock: ManualClock::at(1_790_000_000),
            storage: Box::new(Disk(Arc::clone(&disk))),
            stats: Arc::default(),
            signals: Arc::default(),
            signer: None,
            pseudonyms: Pseudonyms::shared(None),
            secrets: Vec::new(),
            heads: None,
        };
        let writer = Writer::open(&settings, outside).unwrap();
        Self { writer, disk }
    }

    fn lines(&self) -> Vec<Value> {
        let files = self.disk.files.lock().unwrap();
        let lines = files.iter().flat_map(|(_, bytes)| bytes.split_inclusive(|byte| *byte == b'\n'));
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
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
