//! A file that was opened, and what stands under its name later.

use std::fs::File;
use std::path::PathBuf;

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

/// Device and inode, where the system has them.
pub(crate) type Identity = Option<(u64, u64)>;

/// A file that was opened: its name, and by what it is told from others of this name.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
}

impl Opened {
    /// Only files have an end that can move.
    pub(super) fn of(path: PathBuf, file: &File) -> Option<Self> {
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self { path, identity: identity(&metadata) })
    }
}

/// By what the system tells files apart.
#[cfg_attr(unix, expect(clippy::unnecessary_wraps, reason = "elsewhere there is none"))]
pub(crate) fn identity(metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
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
