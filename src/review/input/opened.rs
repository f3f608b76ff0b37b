//! Files as they were opened: by what each is told from others of its name, and what may have become of it.

use std::cmp::Ordering;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What stands under the name of a file that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Now {
    /// That file, and no more than was read of it.
    Same,
    /// That file, and more.
    Longer,
    /// That file, and less than was read of it.
    Shorter,
    /// Another one.
    Other,
    /// None.
    Gone,
}

/// A file that was opened: its name, and by what it is told from others of this name.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Opened {
    /// Only files have an end that can move.
    pub(super) fn of(path: PathBuf, file: &File) -> Option<Self> {
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self { path, identity: identity(&metadata) })
    }

    /// What stands under its name now, after so many bytes of it were read.
    pub(super) fn now(&self, read: u64, compressed: bool) -> Now {
        let Ok(metadata) = std::fs::metadata(&self.path) else { return Now::Gone };
        match metadata.len().cmp(&read) {
            _ if identity(&metadata) != self.identity => Now::Other,
            _ if compressed => Now::Same,
            Ordering::Less => Now::Shorter,
            Ordering::Equal => Now::Same,
            Ordering::Greater => Now::Longer,
        }
    }
}

/// Device and inode.
#[cfg_attr(unix, expect(clippy::unnecessary_wraps, reason = "elsewhere there is none"))]
fn identity(metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

/// A segment may have been compressed since it was found. With it: its name.
pub(super) fn open(path: &Path) -> std::io::Result<(File, PathBuf)> {
    let opened = File::open(path);
    let gone = opened.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        Some((File::open(&name).ok()?, PathBuf::from(name)))
    };
    match [".zst", ".gz"].into_iter().find_map(|end| if gone { named(end) } else { None }) {
        Some(found) => Ok(found),
        None => opened.map(|file| (file, path.to_owned())),
    }
}
