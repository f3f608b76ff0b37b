//! Checks a pack again, without the log and without the net.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::proof::{Checker, Proofs};
use super::subject::REQUESTS_FILE;
use super::{EvidenceError, MANIFEST, PackVerified, io, said};
use crate::audit::segment_file::SegmentLines;
use crate::audit::signing::PublicKey;

/// All files below a directory but the manifest, by their names with `/` between them.
fn files(dir: &Path, prefix: &str, out: &mut Vec<String>) -> Result<(), EvidenceError> {
    for entry in std::fs::read_dir(dir).map_err(io(dir))? {
        let entry = entry.map_err(io(dir))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files(&entry.path(), &format!("{name}/"), out)?;
        } else if name != MANIFEST {
            out.push(name);
        }
    }
    Ok(())
}

/// The manifest of what is there, as sha256sum writes it.
pub(crate) fn manifest(dir: &Path) -> Result<String, EvidenceError> {
    let mut names = Vec::new();
    files(dir, "", &mut names)?;
    names.sort();
    let mut text = String::new();
    for name in names {
        let path = dir.join(&name);
        let mut hash = Sha256::new();
        let mut file = std::fs::File::open(&path).map_err(io(&path))?;
        std::io::copy(&mut file, &mut Hashed(&mut hash)).map_err(io(&path))?;
        text.push_str(&format!("{}  {name}\n", HEXLOWER.encode(&hash.finalize())));
    }
    Ok(text)
}

struct Hashed<'h>(&'h mut Sha256);

impl std::io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Checks an evidence pack: no file was changed, and every line has its proof.
///
/// `keys` are those that the caller trusts; if there are none, the pack's own are believed.
///
/// # Errors
/// [`EvidenceError::Changed`] and [`EvidenceError::Unproved`] if it does not hold, [`EvidenceError::Io`] if it cannot be
/// read.
pub fn verify_evidence(dir: &Path, keys: &[PublicKey]) -> Result<PackVerified, EvidenceError> {
    check_manifest(dir)?;
    let path = dir.join("proofs.json");
    let json = std::fs::read(&path).map_err(io(&path))?;
    let unproved = |why: String| EvidenceError::Unproved { why };
    let proofs: Proofs =
        serde_json::from_slice(&json).map_err(|error| unproved(format!("proofs.json cannot be read: {error}")))?;
    let path = dir.join("proofs.txt");
    if std::fs::read(&path).map_err(io(&path))? != proofs.to_string().as_bytes() {
        return Err(unproved("proofs.txt and proofs.json differ".to_owned()));
    }
    if let Some(list) = proofs.subject.list() {
        let path = dir.join(REQUESTS_FILE);
        if std::fs::read(&path).map_err(io(&path))? != list.as_bytes() {
            return Err(unproved(format!("{REQUESTS_FILE} and proofs.json differ")));
        }
    }
    let own = own_keys(dir, &proofs)?;
    let believed: &[PublicKey] = if keys.is_empty() { &own } else { keys };
    let proved = follow(dir, &proofs, believed)?;
    check_robots(dir)?;
    if !keys.is_empty() && proved.signed == 0 {
        return Err(unproved("nothing in it is under a signature of the keys given".to_owned()));
    }
    let anchors = proofs.anchors.iter().map(said).collect();
    Ok(PackVerified {
        anchors,
        visitor: proofs.subject.visitor(),
        requests: proofs.subject.requests(),
        signed: proved.signed,
        unsigned: proved.unsigned,
        keys: believed.iter().map(PublicKey::to_hex).collect(),
        are_keys_given: !keys.is_empty(),
    })
}

fn check_manifest(dir: &Path) -> Result<(), EvidenceError> {
    let path = dir.join(MANIFEST);
    let stated = String::from_utf8_lossy(&std::fs::read(&path).map_err(io(&path))?).into_owned();
    let actual = manifest(dir)?;
    if stated == actual {
        return Ok(());
    }
    let changed = actual.lines().find(|line| !stated.lines().any(|other| other == *line));
    let changed = changed.or_else(|| stated.lines().find(|line| !actual.lines().any(|other| other == *line)));
    let file = changed.and_then(|line| line.get(66..)).unwrap_or(MANIFEST).to_owned();
    Err(EvidenceError::Changed { file })
}

/// The keys of the pack; the files for openssl and `proofs.json` must name the same.
fn own_keys(dir: &Path, proofs: &Proofs) -> Result<Vec<PublicKey>, EvidenceError> {
    let mut keys = Vec::new();
    for (id, hex) in &proofs.keys {
        let key = PublicKey::from_hex(hex).filter(|key| key.id() == *id);
        let pem = key.as_ref().and_then(|key| std::fs::read_to_string(dir.join(format!("keys/{}.pem", key.id()))).ok());
        let same = pem.and_then(|pem| PublicKey::from_pem(&pem));
        match key {
            Some(key) if same.as_ref() == Some(&key) => keys.push(key),
            _ => return Err(EvidenceError::Unproved { why: format!("key {id} is not what its name says") }),
        }
    }
    Ok(keys)
}

fn follow(dir: &Path, proofs: &Proofs, keys: &[PublicKey]) -> Result<super::proof::Proved, EvidenceError> {
    let path = dir.join("lines.ndjson");
    let mut lines = SegmentLines::open(&path).map_err(io(&path))?;
    let unproved = |why: String| EvidenceError::Unproved { why };
    let mut checker = Checker::new(dir, &proofs.subject, keys);
    let mut next_line = || lines.next_line().ok().flatten().map(<[u8]>::to_vec);
    for step in &proofs.steps {
        checker.step(step, &mut next_line).map_err(unproved)?;
    }
    if next_line().is_some() {
        return Err(unproved("lines.ndjson holds a line without a proof".to_owned()));
    }
    if let Some(anchor) = proofs.anchors.iter().find(|anchor| !checker.is_proved(anchor)) {
        return Err(unproved(format!("no proof ends at head {}, which is said to have been sent away", anchor.head)));
    }
    checker.finish().map_err(unproved)
}

/// A robots.txt is named after its digest.
fn check_robots(dir: &Path) -> Result<(), EvidenceError> {
    let dir = dir.join("robots");
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(&dir)(error)),
    };
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "txt")) {
        let digest = HEXLOWER.encode(&Sha256::digest(std::fs::read(path).map_err(io(path))?));
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if stem.is_empty() || !digest.starts_with(&stem) {
            return Err(EvidenceError::Unproved { why: format!("robots/{stem}.txt is not the version of its name") });
        }
    }
    Ok(())
}
