//! `clickhouse.offset`: how far the log was sent, one line for each instance of the directory.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::audit::storage::sync_dir;

const NAME: &str = "clickhouse.offset";

/// The last line that the engine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) instance: String,
    pub(super) seq: u64,
    /// The file, named as it was when it was open.
    pub(super) segment: String,
}

/// `None`: nothing was sent yet, or nobody knows how far.
pub(super) fn load(dir: &Path, instance: &str) -> Option<Position> {
    all(dir).into_iter().rfind(|position| position.instance == instance)
}

/// Lasts through a power cut.
pub(super) fn save(dir: &Path, position: &Position) -> io::Result<()> {
    let mut positions = all(dir);
    positions.retain(|known| known.instance != position.instance);
    positions.push(position.clone());
    let temporary = dir.join(format!("{NAME}.{}.tmp", position.instance));
    let mut file = File::create(&temporary)?;
    for position in &positions {
        serde_json::to_writer(&mut file, position)?;
        file.write_all(b"\n")?;
    }
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(NAME))?;
    sync_dir(Some(dir));
    Ok(())
}

fn all(dir: &Path) -> Vec<Position> {
    let text = std::fs::read_to_string(dir.join(NAME)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_has_its_place() {
        let dir = std::env::temp_dir().join(format!("deckle-offset-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(load(&dir, "a"), None);
        let at = |instance: &str, seq| Position {
            instance: instance.into(),
            seq,
            segment: format!("audit-{instance}.ndjson"),
        };
        for position in [at("a", 1), at("b", 7), at("a", 2)] {
            save(&dir, &position).unwrap();
        }
        assert_eq!((load(&dir, "a"), load(&dir, "b"), load(&dir, "c")), (Some(at("a", 2)), Some(at("b", 7)), None));
        std::fs::write(dir.join(NAME), "nonsense\n").unwrap();
        assert_eq!(load(&dir, "a"), None);
        save(&dir, &at("a", 3)).unwrap();
        assert_eq!(load(&dir, "a"), Some(at("a", 3)));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
