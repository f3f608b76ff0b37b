//! Which secrets a log was written with, by their fingerprints: a key id must mean the same secret in all of it.

#[cfg(feature = "proxy")]
use std::path::{Path, PathBuf};

#[cfg(feature = "proxy")]
use super::integrity::Opening;
#[cfg(feature = "proxy")]
use super::segment_file::{SegmentLines, all_segments};
#[cfg(feature = "proxy")]
use crate::secret::SecretError;
use crate::secret::Secrets;

/// Key ids and fingerprints, as a `segment` line names them: `1:aabfa0db`.
pub(super) fn ids(secrets: &Secrets) -> Vec<String> {
    let mut ids: Vec<String> = secrets.iter().map(|s| format!("{}:{}", s.kid(), s.fingerprint())).collect();
    ids.sort();
    ids
}

/// Refuses a key id that stands for another secret in a segment of this directory, whoever wrote that.
///
/// # Errors
/// [`SecretError::Reused`] names the file.
#[cfg(feature = "proxy")]
pub(super) fn refuse_reused(dir: &Path, secrets: &Secrets) -> Result<(), SecretError> {
    let reused = named(dir).find(|(_, kid, print)| secrets.by_kid(*kid).is_some_and(|s| s.fingerprint() != *print));
    match reused {
        Some((path, kid, _)) => Err(SecretError::Reused { kid, file: path.display().to_string() }),
        None => Ok(()),
    }
}

/// The first key id that stands for nothing yet in the segments of this directory: a secret that was lost is not followed
/// by one of the same name.
#[cfg(feature = "proxy")]
pub(crate) fn free_key_id(dir: &Path) -> Option<u8> {
    let taken: Vec<u8> = named(dir).map(|(_, kid, _)| kid).collect();
    (0..=crate::secret::MAX_KID).find(|kid| !taken.contains(kid))
}

/// Segment, key id and fingerprint of every secret that the segments name.
#[cfg(feature = "proxy")]
fn named(dir: &Path) -> impl Iterator<Item = (PathBuf, u8, String)> {
    // What is not there, or cannot be read, says nothing: a damaged segment must not keep a site from starting.
    all_segments(dir).unwrap_or_default().into_iter().flat_map(|path| {
        let ids = opening(&path).ok().flatten().map(|opening| opening.secret_ids).unwrap_or_default();
        ids.into_iter().filter_map(move |id| {
            let (kid, print) = id.split_once(':')?;
            Some((path.clone(), kid.parse().ok()?, print.to_owned()))
        })
    })
}

/// What the first line of a segment says.
#[cfg(feature = "proxy")]
fn opening(path: &Path) -> std::io::Result<Option<Opening>> {
    let mut lines = SegmentLines::open(path)?;
    Ok(lines.next_line()?.and_then(Opening::parse))
}

#[cfg(all(test, feature = "proxy"))]
#[expect(clippy::unwrap_used, reason = "for tests")]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn secrets(lines: &str) -> Secrets {
        let hex = |first: u8| (0..32).map(|i| format!("{:02x}", first + i)).collect::<String>();
        Secrets::parse(&lines.replace('A', &hex(0)).replace('B', &hex(100))).unwrap()
    }

    #[test]
    fn a_key_id_means_one_secret() {
        let dir = std::env::temp_dir().join(format!("deckle-kids-{}", std::process::id()));
        assert!(refuse_reused(&dir, &secrets("0 A")).is_ok(), "there is no log yet");
        std::fs::create_dir_all(&dir).unwrap();
        let segment = |name: &str, ids: &[String]| {
            let ids = if ids.is_empty() { String::new() } else { format!(",\"secret.ids\":{ids:?}") };
            let line = format!("{{\"v\":1,\"deckle.kind\":\"segment\",\"deckle.seq\":1{ids}}}\n");
            std::fs::write(dir.join(name), line).unwrap();
        };
        assert_eq!(ids(&Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap())), ["1:aabfa0db"]);
        // Of a version that did not say; damaged; and no segment at all.
        segment("audit-a-20260101T000000Z-1.ndjson", &[]);
        std::fs::write(dir.join("audit-a-20260101T000000Z-2.ndjson.zst"), b"\x28\xB5\x2F\xFDnonsense").unwrap();
        std::fs::write(dir.join("other.ndjson"), "{\"secret.ids\":[\"0:00000000\"]}\n").unwrap();
        assert!(refuse_reused(&dir, &secrets("0 A")).is_ok());
        let written = ids(&secrets("0 A retired=2026-01-01T00:00:00Z\n1 B"));
        assert_eq!(written.len(), 2);
        segment("audit-b-20260101T000000Z-1.ndjson", &written);
        for (lines, reused) in [
            ("0 A", None),
            ("1 B", None),
            ("1 B\n0 A retired=2026-01-01T00:00:00Z", None),
            ("2 B", None),
            ("0 B", Some(0)),
            ("1 A", Some(1)),
            // A retired one is read by its id, too.
            ("2 B\n1 A retired=2026-01-01T00:00:00Z", Some(1)),
        ] {
            let found = refuse_reused(&dir, &secrets(lines)).err();
            let said = found.as_ref().map(ToString::to_string).unwrap_or_default();
            assert_eq!(said.contains("audit-b-20260101T000000Z-1.ndjson"), reused.is_some(), "{lines}: {said}");
            let kid = found.map(|error| match error {
                SecretError::Reused { kid, .. } => kid,
                other => panic!("{other}"),
            });
            assert_eq!(kid, reused, "{lines}");
        }
        assert_eq!(free_key_id(&dir), Some(2));
        let all: Vec<String> = (2..=7).map(|kid| format!("{kid}:00000000")).collect();
        segment("audit-c-20260101T000000Z-1.ndjson", &all);
        assert_eq!(free_key_id(&dir), None);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
