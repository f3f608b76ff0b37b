//! What is deleted for its age when the clock of the machine jumps.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::{Broken, Rig, alone, lines_of, of_kind};
use crate::audit::Settings;
use crate::audit::writer::Writer;
use crate::clock::{Clock, ManualClock};
use crate::unit::{Size, Span};

const DAY: Duration = Duration::from_secs(86_400);
const NOW: u64 = 1_790_000_000;

/// A clock whose wall time is set by hand, so many seconds ahead of its running time.
struct Jumping {
    running: Arc<ManualClock>,
    ahead: AtomicU64,
}

impl Clock for Jumping {
    fn elapsed(&self) -> Duration {
        self.running.elapsed()
    }

    fn unix(&self) -> Duration {
        self.running.unix() + Duration::from_secs(self.ahead.load(Ordering::SeqCst))
    }
}

/// A writer that keeps closed segments for 30 days, and a directory with two of them: the older one is too large, and goes
/// each time that room is made. As it is looked at last, the other one has been judged when it is gone.
struct Kept {
    writer: Writer,
    clock: Arc<Jumping>,
    disk: Arc<Broken>,
    large: PathBuf,
    small: PathBuf,
}

impl Kept {
    fn new(name: &str, age: Duration) -> Self {
        let dir = std::env::temp_dir().join(format!("deckle-{name}-{}", std::process::id()));
        let settings = Settings {
            dir: dir.display().to_string(),
            instance: Some("w1".into()),
            min_free: Size(0),
            max_age: Span(30 * DAY),
            max_total: Size(100),
            ..Settings::default()
        };
        let clock = Arc::new(Jumping { running: ManualClock::at(NOW), ahead: AtomicU64::new(0) });
        let (mut writer, disk) = alone(&settings, clock.clone());
        writer.housekeeping();
        let [large, small] = [1, 2].map(|number| dir.join(format!("audit-w1-20200101T000000Z-{number}.ndjson")));
        std::fs::write(&small, "x").unwrap();
        let written = UNIX_EPOCH + Duration::from_secs(NOW) - age;
        File::options().write(true).open(&small).unwrap().set_modified(written).unwrap();
        Self { writer, clock, disk, large, small }
    }

    fn jump(&self, ahead: Duration) {
        self.clock.ahead.store(ahead.as_secs(), Ordering::SeqCst);
    }

    /// At the turn of a day. Is the small one kept?
    fn is_kept(&mut self) -> bool {
        std::fs::write(&self.large, [b'x'; 1_000]).unwrap();
        self.writer.housekeeping();
        Rig::until(|| !self.large.exists());
        self.small.exists()
    }

    fn kept_tomorrow(mut self) -> bool {
        self.clock.running.advance(DAY);
        self.is_kept()
    }

    /// How far ahead the clock went, as the log tells it, in milliseconds.
    fn told(&self) -> Vec<u64> {
        let lines = lines_of(&self.disk);
        let gaps = of_kind(&lines, "gap");
        let jumps = gaps.iter().filter(|gap| gap["reason"] == "clock_jump");
        jumps.map(|gap| gap["ahead_ms"].as_u64().unwrap()).collect()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.writer.dir);
    }
}

#[test]
fn after_a_jump_nothing_goes_for_its_age_until_all_of_it_is_old() {
    let mut kept = Kept::new("jump", Duration::ZERO);
    kept.jump(100 * DAY);
    assert!(kept.is_kept(), "nothing has become old by that");
    kept.clock.running.advance(29 * DAY);
    assert!(kept.is_kept());
    kept.clock.running.advance(2 * DAY);
    assert!(!kept.is_kept(), "now it is");
    assert_eq!(kept.told(), [100 * 86_400_000], "once");
}

#[test]
fn a_clock_that_is_set_right_is_believed_again() {
    let mut kept = Kept::new("set-right", 40 * DAY);
    kept.jump(400 * DAY);
    assert!(kept.is_kept());
    kept.clock.running.advance(DAY);
    kept.jump(Duration::ZERO);
    assert!(!kept.is_kept(), "it was too old all the time");
    assert_eq!(kept.told().len(), 1);
}

#[test]
fn a_segment_that_is_old_goes() {
    assert!(!Kept::new("old", 31 * DAY).kept_tomorrow());
    assert!(Kept::new("young", 20 * DAY).kept_tomorrow());
}
