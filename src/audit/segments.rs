//! Closed segments: found by name, compressed, deleted in time.

#[cfg(feature = "proxy")]
use std::fs::File;
#[cfg(feature = "proxy")]
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The segments of one instance, oldest first: `audit-<instance>-<stamp>-<number>.ndjson`, compressed or not.
pub(super) fn segments(dir: &Path, instance: &str) -> Vec<PathBuf> {
    let prefix = format!("audit-{instance}-");
    let order = |path: &Path| -> Option<(String, u64)> {
        let rest = path.file_name()?.to_str()?.strip_prefix(&prefix)?;
        let bare = rest.strip_suffix(".ndjson").or_else(|| rest.strip_suffix(".ndjson.zst"))?;
        // An instance whose name begins with ours has more between the hyphens.
        let (stamp, number) = bare.split_once('-')?;
        Some((stamp.to_owned(), number.parse().ok()?))
    };
    let mut found: Vec<((String, u64), PathBuf)> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((order(&entry.path())?, entry.path())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(feature = "proxy")]
pub(super) fn close_segment(path: &Path) {
    let compress = || -> std::io::Result<()> {
        let target = path.with_extension("ndjson.zst");
        let temporary = path.with_extension("ndjson.zst.tmp");
        let mut out = File::create(&temporary)?;
        // As readable as the original, not more.
        out.set_permissions(std::fs::metadata(path)?.permissions())?;
        zstd::stream::copy_encode(File::open(path)?, &mut out, 3)?;
        out.sync_all()?;
        // The original goes only when the copy reads back.
        let mut sink = CountingSink(0);
        zstd::stream::copy_decode(File::open(&temporary)?, &mut sink)?;
        if sink.0 != std::fs::metadata(path)?.len() {
            return Err(std::io::Error::other("the compressed segment does not read back"));
        }
        std::fs::rename(&temporary, &target)?;
        std::fs::remove_file(path)
    };
    if let Err(error) = compress() {
        tracing::warn!(target: "deckle::audit", %error, path = %path.display(), "A closed segment stays uncompressed.");
    }
}

#[cfg(not(feature = "proxy"))]
pub(super) fn close_segment(_: &Path) {}

#[cfg(feature = "proxy")]
struct CountingSink(u64);

#[cfg(feature = "proxy")]
impl Write for CountingSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Deletes the oldest segments beyond age and size; never the open one.
pub(super) fn retain(
    dir: &Path,
    instance: &str,
    current: Option<&Path>,
    max_age: Duration,
    max_total: u64,
    now: Duration,
) {
    let mut kept = 0u64;
    for path in segments(dir, instance).into_iter().rev().filter(|p| Some(p.as_path()) != current) {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let written = metadata.modified().ok().and_then(|m| m.duration_since(std::time::UNIX_EPOCH).ok());
        let old = written.is_some_and(|w| now.saturating_sub(w) > max_age);
        kept += metadata.len();
        if (old || kept > max_total) && std::fs::remove_file(&path).is_ok() {
            tracing::info!(target: "deckle::audit", path = %path.display(), "An old segment was deleted.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_oldest_segments_are_deleted() {
        let dir = std::env::temp_dir().join(format!("deckle-retain-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let names = [
            "audit-a-20260101T000000Z-9.ndjson.zst",
            "audit-a-20260101T000000Z-10.ndjson",
            "audit-a-20260102T000000Z-11.ndjson",
            "audit-a-b-20250101T000000Z-1.ndjson",
            "audit-c-20250101T000000Z-1.ndjson",
        ];
        for name in names {
            std::fs::write(dir.join(name), [b'x'; 100]).unwrap();
        }
        let current = dir.join(names[2]);
        retain(&dir, "a", Some(&current), Duration::MAX, 150, Duration::ZERO);
        let mut left: Vec<_> =
            std::fs::read_dir(&dir).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [names[1], names[2], names[3], names[4]]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
