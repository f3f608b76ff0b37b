//! Closed segments: found by name, compressed, deleted in time.

#[cfg(feature = "proxy")]
use std::fs::File;
#[cfg(feature = "proxy")]
use std::io::Read;
use std::path::{Path, PathBuf};
#[cfg(feature = "proxy")]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[cfg(feature = "proxy")]
use sha2::{Digest, Sha256};

use super::index::Index;
#[cfg(feature = "proxy")]
use super::storage::sync_dir;
use super::{Compress, Settings};

/// The segments of one instance, oldest first: `audit-<instance>-<stamp>-<number>.ndjson`, compressed or not.
pub(super) fn segments(dir: &Path, instance: &str) -> Vec<PathBuf> {
    let prefix = format!("audit-{instance}-");
    let order = |path: &Path| -> Option<(String, u64)> {
        let rest = path.file_name()?.to_str()?.strip_prefix(&prefix)?;
        let bare = rest
            .strip_suffix(".ndjson")
            .or_else(|| rest.strip_suffix(".ndjson.zst"))
            .or_else(|| rest.strip_suffix(".ndjson.gz"))?;
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

/// The highest number of a segment of this instance; names are used once.
pub(super) fn highest_number(dir: &Path, instance: &str) -> u64 {
    let number = |path: &PathBuf| bare(path.file_name()?.to_str()?).rsplit('-').next()?.parse().ok();
    segments(dir, instance).iter().filter_map(number).max().unwrap_or(0)
}

/// The highest stamp in the names of this instance.
pub(super) fn highest_stamp(dir: &Path, instance: &str) -> String {
    let stamp = |path: &PathBuf| bare(path.file_name()?.to_str()?).rsplit('-').nth(1).map(str::to_owned);
    segments(dir, instance).iter().filter_map(stamp).max().unwrap_or_default()
}

/// Copies that a process was killed over.
pub(super) fn remove_unfinished(dir: &Path, instance: &str) {
    let prefix = format!("audit-{instance}-");
    for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // An instance whose name begins with ours has more between the hyphens.
        let own = name.strip_prefix(&prefix).is_some_and(|rest| rest.matches('-').count() == 1);
        if own && name.ends_with(".tmp") {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Whoever closes segments: two at once would write one copy.
#[cfg(feature = "proxy")]
static CLOSING: Mutex<()> = Mutex::new(());

/// Compresses a segment, unless somebody has done so; the original goes only when the copy reads back, byte for byte.
#[cfg(feature = "proxy")]
pub(super) fn close_segment(path: &Path, how: Compress) {
    let _alone = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
    if !path.exists() {
        return;
    }
    let compress = || -> std::io::Result<()> {
        let end = match how {
            Compress::None => return Ok(()),
            Compress::Zstd(_) => "zst",
            Compress::Gzip(_) => "gz",
        };
        let target = path.with_extension(format!("ndjson.{end}"));
        let temporary = path.with_extension(format!("ndjson.{end}.tmp"));
        if target.exists() {
            // The process was killed between the two names; whichever copy is whole stays.
            return finish(path, &target);
        }
        let mut out = File::create(&temporary)?;
        // As readable as the original, not more.
        out.set_permissions(std::fs::metadata(path)?.permissions())?;
        let mut original = Hashing::new(File::open(path)?);
        match how {
            Compress::None => {}
            Compress::Zstd(level) => zstd::stream::copy_encode(&mut original, &mut out, level.into())?,
            Compress::Gzip(level) => {
                let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::new(level.into()));
                std::io::copy(&mut original, &mut encoder)?;
                encoder.finish()?;
            }
        }
        out.sync_all()?;
        let copy = File::open(&temporary)?;
        let mut read_back: Box<dyn Read> = match how {
            Compress::Gzip(_) => Box::new(flate2::read::GzDecoder::new(copy)),
            _ => Box::new(zstd::stream::read::Decoder::new(copy)?),
        };
        let mut read_back = Hashing::new(&mut read_back);
        std::io::copy(&mut read_back, &mut std::io::sink())?;
        if read_back.digest() != original.digest() {
            return Err(std::io::Error::other("the compressed segment does not read back"));
        }
        std::fs::rename(&temporary, &target)?;
        sync_dir(path.parent());
        std::fs::remove_file(path)
    };
    if let Err(error) = compress() {
        tracing::warn!(target: "deckle::audit", %error, path = %path.display(), "A closed segment stays uncompressed.");
    }
}

/// Removes the original of a segment that was compressed, if the copy says the same.
#[cfg(feature = "proxy")]
fn finish(path: &Path, target: &Path) -> std::io::Result<()> {
    let copy = File::open(target)?;
    let mut copy: Box<dyn Read> = if target.extension().is_some_and(|end| end == "gz") {
        Box::new(flate2::read::GzDecoder::new(copy))
    } else {
        Box::new(zstd::stream::read::Decoder::new(copy)?)
    };
    let (mut copy, mut original) = (Hashing::new(&mut copy), Hashing::new(File::open(path)?));
    let is_whole = std::io::copy(&mut copy, &mut std::io::sink()).is_ok();
    std::io::copy(&mut original, &mut std::io::sink())?;
    if is_whole && copy.digest() == original.digest() {
        return std::fs::remove_file(path);
    }
    Err(std::io::Error::other("there is another compressed segment of this name"))
}

#[cfg(not(feature = "proxy"))]
pub(super) fn close_segment(_: &Path, _: Compress) {}

/// Reads, and remembers what it has read.
#[cfg(feature = "proxy")]
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

#[cfg(feature = "proxy")]
impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn digest(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

#[cfg(feature = "proxy")]
impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Segments that must not be deleted: a name a line in `hold.txt`, with or without its ends.
fn held(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("hold.txt")).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(bare).collect()
}

fn bare(name: &str) -> String {
    name.split_once(".ndjson").map_or(name, |(stem, _)| stem).to_owned()
}

/// Deletes the oldest segments beyond age and size; never the open one, and never one that is held.
pub(super) fn retain(
    dir: &Path,
    instance: &str,
    current: Option<&Path>,
    settings: &Settings,
    now: Duration,
    index: &Index,
) {
    let (held, mut kept) = (held(dir), 0u64);
    for path in segments(dir, instance).into_iter().rev().filter(|p| Some(p.as_path()) != current) {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let written = metadata.modified().ok().and_then(|m| m.duration_since(std::time::UNIX_EPOCH).ok());
        let old = written.is_some_and(|w| now.saturating_sub(w) > settings.max_age.0);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        kept += metadata.len();
        let is_over = old || kept > settings.max_total.0;
        if is_over && !held.contains(&bare(name)) && std::fs::remove_file(&path).is_ok() {
            kept -= metadata.len();
            index.deleted(name, metadata.len());
            tracing::info!(target: "deckle::audit", path = %path.display(), "An old segment was deleted.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::{Size, Span};

    #[cfg(feature = "proxy")]
    #[test]
    fn segments_are_compressed_as_they_were() {
        let dir = std::env::temp_dir().join(format!("deckle-compress-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("audit-a-x-1.ndjson");
        for (how, end) in [(Compress::Zstd(3), Some("zst")), (Compress::Gzip(6), Some("gz")), (Compress::None, None)] {
            std::fs::write(&path, "line\n".repeat(1_000)).unwrap();
            close_segment(&path, how);
            assert_eq!(path.exists(), end.is_none());
            if let Some(end) = end {
                assert!(std::fs::metadata(path.with_extension(format!("ndjson.{end}"))).unwrap().len() < 200);
            }
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[cfg(feature = "proxy")]
    #[test]
    fn two_who_close_a_segment_leave_one_whole_copy() {
        let dir = std::env::temp_dir().join(format!("deckle-close-twice-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, text) = (dir.join("audit-a-x-1.ndjson"), "line\n".repeat(200_000));
        for _ in 0..20 {
            std::fs::write(&path, &text).unwrap();
            std::thread::scope(|scope| {
                (0..3).for_each(|_| _ = scope.spawn(|| close_segment(&path, Compress::Zstd(3))));
            });
            let copy = path.with_extension("ndjson.zst");
            assert_eq!(zstd::decode_all(File::open(&copy).unwrap()).unwrap(), text.as_bytes());
            assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing else is left");
            std::fs::remove_file(copy).unwrap();
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn names_go_on_from_the_highest() {
        let dir = std::env::temp_dir().join(format!("deckle-names-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!((highest_number(&dir, "a"), highest_stamp(&dir, "a")), (0, String::new()));
        for name in [
            "audit-a-20300101T000000Z-9.ndjson.zst",
            "audit-a-20260102T000000Z-10.ndjson.gz",
            "audit-a-b-20990101T000000Z-99.ndjson",
            "audit-a-20260102T000000Z-3.ndjson.zst.tmp",
            "audit-a-b-20260102T000000Z-3.ndjson.zst.tmp",
        ] {
            std::fs::write(dir.join(name), "x").unwrap();
        }
        assert_eq!(highest_number(&dir, "a"), 10);
        assert_eq!(highest_stamp(&dir, "a"), "20300101T000000Z");
        remove_unfinished(&dir, "a");
        assert!(!dir.join("audit-a-20260102T000000Z-3.ndjson.zst.tmp").exists());
        assert!(dir.join("audit-a-b-20260102T000000Z-3.ndjson.zst.tmp").exists(), "of another instance");
        std::fs::remove_dir_all(dir).unwrap();
    }

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
        std::fs::write(dir.join("hold.txt"), "# a case in court\naudit-a-20260101T000000Z-9.ndjson\n").unwrap();
        let settings = Settings { max_total: Size(150), max_age: Span(Duration::MAX), ..Settings::default() };
        let index = Index::in_dir(&dir);
        retain(&dir, "a", Some(&current), &settings, Duration::ZERO, &index);
        assert!(dir.join(names[0]).exists(), "held");
        std::fs::remove_file(dir.join("hold.txt")).unwrap();
        retain(&dir, "a", Some(&current), &settings, Duration::ZERO, &index);
        let told = std::fs::read_to_string(dir.join("audit.index")).unwrap();
        assert!(told.contains(&format!("\"retention\":\"{}\"", names[0])), "{told}");
        std::fs::remove_file(dir.join("audit.index")).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(&dir).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [names[1], names[2], names[3], names[4]]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
