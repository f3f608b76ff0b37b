//! Which files a directory of logs holds.

use std::path::{Path, PathBuf};

use super::InputError;
use crate::audit::segment_file::drop_copies;

/// Is this the name of something that a directory of logs holds?
fn is_log_name(name: &str, own: bool) -> bool {
    let bare = ["gz", "zst"].iter().find_map(|end| name.strip_suffix(end)?.strip_suffix('.')).unwrap_or(name);
    if own {
        return name.starts_with("audit-") && bare.ends_with(".ndjson");
    }
    // `access.log`, `access.log.1`, `access.log-20261120`
    bare.contains(".log") || bare.contains("access") || bare.ends_with(".ndjson")
}

/// The file itself, or the logs of a directory in the order of their names: deckle's segments, else what is named as logs
/// are.
///
/// # Errors
/// [`InputError`].
pub fn files(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let io = |source| InputError::Io { path: path.display().to_string(), source };
    if !path.is_dir() {
        std::fs::metadata(path).map_err(io)?;
        return Ok(vec![path.to_owned()]);
    }
    let all: Vec<PathBuf> = std::fs::read_dir(path).map_err(io)?.flatten().map(|entry| entry.path()).collect();
    for own in [true, false] {
        let named = |p: &&PathBuf| p.file_name().and_then(|n| n.to_str()).is_some_and(|name| is_log_name(name, own));
        let mut found: Vec<PathBuf> = all.iter().filter(named).filter(|p| p.is_file()).cloned().collect();
        if !found.is_empty() {
            drop_copies(&mut found);
            found.sort();
            return Ok(found);
        }
    }
    Err(InputError::NoLog { path: path.display().to_string() })
}

/// The file itself, or the segments of a log directory, those that were opened last first.
///
/// # Errors
/// [`InputError`].
pub fn newest_first(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let mut found = files(path)?;
    found.sort_by_cached_key(|file| std::cmp::Reverse(stamp(file)));
    Ok(found)
}

/// When a segment was opened, and its number: `audit-<instance>-<stamp>-<number>.ndjson`, compressed or not.
fn stamp(file: &Path) -> Option<(String, u64)> {
    let name = file.file_name()?.to_str()?.split('.').next()?;
    let (rest, number) = name.rsplit_once('-')?;
    let (_, stamp) = rest.rsplit_once('-')?;
    Some((stamp.to_owned(), number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_there_twice_is_read_once() {
        let dir = std::env::temp_dir().join(format!("deckle-twice-{}", std::process::id()));
        for (own, other) in [("audit-a-20260101T000000Z-1.ndjson", ".zst"), ("access.log.1", ".gz")] {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(own), "").unwrap();
            std::fs::write(dir.join(own.to_owned() + other), "").unwrap();
            assert_eq!(files(&dir).unwrap(), [dir.join(own)]);
            std::fs::remove_file(dir.join(own)).unwrap();
            assert_eq!(files(&dir).unwrap(), [dir.join(own.to_owned() + other)], "alone it is the log");
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }

    #[test]
    fn the_newest_segment_is_first() {
        let dir = std::env::temp_dir().join(format!("deckle-newest-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let names = [
            "audit-a-b-20260301T000000Z-1.ndjson.gz",
            "audit-a-20260101T000000Z-10.ndjson",
            "audit-a-20260101T000000Z-9.ndjson.zst",
            "audit-z-20250101T000000Z-11.ndjson",
            "audit-of-nobody.ndjson",
        ];
        for name in names.iter().chain(&["access.log", "audit.index"]) {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let found = newest_first(&dir).unwrap();
        assert_eq!(found, names.map(|name| dir.join(name)));
        assert_eq!(newest_first(&found[2]).unwrap(), [found[2].clone()]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
