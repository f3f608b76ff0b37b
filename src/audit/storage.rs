//! The files that lines go into, behind a trait: what happens when a disk is slow, full or gone is tested with others.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// An open segment.
pub(crate) trait Output: Write + Send {
    /// Its length in bytes; 0 if it was deleted: whatever is written there nobody will find.
    fn length(&self) -> io::Result<u64>;
    /// Is its last name gone?
    fn is_deleted(&self) -> bool;
    /// Cuts it back.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Waits until what was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file of the disk.
struct DiskFile {
    file: File,
    /// Its file system counts the names of files; not all do.
    has_names: bool,
}

impl DiskFile {
    fn new(file: File) -> Self {
        let has_names = file.metadata().is_ok_and(|metadata| names(&metadata) > 0);
        Self { file, has_names }
    }

    fn is_nameless(&self, metadata: &Metadata) -> bool {
        self.has_names && names(metadata) == 0
    }
}

#[cfg(unix)]
fn names(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn names(_: &Metadata) -> u64 {
    1
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for DiskFile {
    fn length(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| if self.is_nameless(&metadata) { 0 } else { metadata.len() })
    }

    fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| self.is_nameless(&metadata))
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
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
        Ok(Box::new(DiskFile::new(file)))
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_name_has_no_length() {
        let dir = std::env::temp_dir().join(format!("deckle-storage-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, other) = (dir.join("a"), dir.join("b"));
        let mut file = Disk.create(&path).unwrap();
        file.write_all(b"line\n").unwrap();
        assert_eq!((file.length().unwrap(), file.is_deleted()), (5, false));
        std::fs::rename(&path, &other).unwrap();
        assert_eq!((file.length().unwrap(), file.is_deleted()), (5, false), "it has another one");
        std::fs::remove_file(&other).unwrap();
        assert_eq!((file.length().unwrap(), file.is_deleted()), (0, true));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
