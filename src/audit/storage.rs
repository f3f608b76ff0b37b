//! The files that lines go into, behind a trait: what happens when a disk is slow, full or gone is tested with others.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// An open segment.
pub(crate) trait Output: Write + Send {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Cuts it back.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Waits until what was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Output for File {
    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Where segments are made.
pub(crate) trait Storage: Send {
    /// Makes a file that is not there yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;
    /// Bytes that are free there; `None`: nobody knows.
    fn free(&self, dir: &Path) -> Option<u64>;
}

/// The disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk;

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        let file = options.open(path)?;
        sync_dir(path.parent());
        Ok(Box::new(file))
    }

    #[cfg(all(unix, feature = "proxy"))]
    fn free(&self, dir: &Path) -> Option<u64> {
        let stat = rustix::fs::statvfs(dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    #[cfg(not(all(unix, feature = "proxy")))]
    fn free(&self, _: &Path) -> Option<u64> {
        None
    }
}

/// A new name must survive a power cut, too.
pub(crate) fn sync_dir(dir: Option<&Path>) {
    if let Some(dir) = dir
        && let Ok(dir) = File::open(dir)
    {
        let _ = dir.sync_all();
    }
}
