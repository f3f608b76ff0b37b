//! `audit.index`: one line for each segment that was closed, sealed or deleted, and for each end that was sent away, so
//! that the chain stays explainable after segments have gone.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde_json::Value;

use super::anchor::SignedHead;
use super::chain::Digest;
use super::json::ObjectWriter;
use super::resume::LeftOpen;

/// The file, shared by all instances of a directory; lines are appended in one write each.
#[derive(Debug, Clone)]
pub(super) struct Index {
    path: PathBuf,
    sealed: BTreeSet<String>,
}

impl Index {
    pub(super) fn in_dir(dir: &Path) -> Self {
        let path = dir.join("audit.index");
        let sealed = std::fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?.get("sealed")?.as_str().map(str::to_owned))
            .collect();
        Self { path, sealed }
    }

    /// Has a segment that came later said how this one ends?
    pub(super) fn is_sealed(&self, name: &str) -> bool {
        self.sealed.contains(name)
    }

    pub(super) fn sealed(&mut self, segment: &LeftOpen, instance: &str) {
        self.sealed.insert(segment.name.clone());
        self.append(|object| {
            object.text("sealed", &segment.name);
            object.text("deckle.instance", instance);
            object.number("last_seq", segment.seq);
            object.text_if("head", segment.head.map(|head| HEXLOWER.encode(&head)).as_deref());
        });
    }

    pub(super) fn closed(&self, name: &str, instance: &str, (first, last): (u64, u64), head: &Digest) {
        self.append(|object| {
            object.text("closed", name);
            object.text("deckle.instance", instance);
            object.number("first_seq", first);
            object.number("last_seq", last);
            object.text("head", &HEXLOWER.encode(head));
        });
    }

    pub(super) fn deleted(&self, name: &str, bytes: u64) {
        self.append(|object| {
            object.text("retention", name);
            object.number("bytes", bytes);
        });
    }

    /// The end of a segment has left the machine.
    pub(super) fn anchored(&self, head: &SignedHead, to: &str) {
        self.append(|object| {
            object.text("anchored", &head.segment);
            object.text("deckle.instance", &head.instance);
            head.tell(object, to);
        });
    }

    fn append(&self, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        let mut line = Vec::new();
        let mut object = ObjectWriter::new(&mut line);
        fill(&mut object);
        object.end();
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        let written = options.open(&self.path).and_then(|mut file| file.write_all(&line));
        if let Err(error) = written {
            tracing::warn!(target: "deckle::audit", %error, "`audit.index` could not be written.");
        }
    }
}
