//! A segment as it lies on the disk: its name, its compression (by the first bytes), and its lines byte for byte.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longest line that is read. The longest that is written holds a robots.txt of 500 KiB in base64.
const MAX_LINE: u64 = 1 << 20;

/// How a segment is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

/// A segment may have been compressed since it was found. With it: its name.
pub(crate) fn open(path: &Path) -> io::Result<(File, PathBuf)> {
    let opened = File::open(path);
    let gone = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
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

/// Lines of a segment, each with its line feed.
pub(crate) struct SegmentLines {
    reader: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    /// How the segment is stored.
    pub(crate) compression: Compression,
}

impl SegmentLines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 20, open(path)?.0);
        let compression = match file.fill_buf()? {
            [0x1F, 0x8B, ..] => Compression::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Compression::Zstd,
            _ => Compression::Plain,
        };
        let reader: Box<dyn BufRead + Send> = match compression {
            Compression::Plain => Box::new(file),
            Compression::Gzip => {
                Box::new(BufReader::with_capacity(1 << 20, flate2::bufread::MultiGzDecoder::new(file)))
            }
            Compression::Zstd => {
                Box::new(BufReader::with_capacity(1 << 20, zstd::stream::read::Decoder::with_buffer(file)?))
            }
        };
        Ok(Self { reader, line: Vec::new(), compression })
    }

    /// The next line; only the last one may lack its line feed.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        if read as u64 == MAX_LINE && self.line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 1 MiB"));
        }
        Ok((read > 0).then_some(self.line.as_slice()))
    }

    /// The next line that has its line feed, which is left out. One that has none is begun and waits for its rest: somebody
    /// writes there.
    #[cfg(feature = "clickhouse")]
    pub(crate) fn next_whole_line(&mut self) -> io::Result<Option<&[u8]>> {
        if self.line.last() == Some(&b'\n') {
            self.line.clear();
        }
        let room = MAX_LINE.saturating_sub(self.line.len() as u64);
        self.reader.by_ref().take(room).read_until(b'\n', &mut self.line)?;
        if self.line.len() as u64 >= MAX_LINE && self.line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 1 MiB"));
        }
        Ok(self.line.strip_suffix(b"\n"))
    }
}

/// What the name of a segment says: `audit-<instance>-<stamp>-<number>.ndjson`, compressed or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) instance: String,
    pub(crate) stamp: String,
    pub(crate) number: u64,
}

impl SegmentName {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = bare_name(path);
        let (rest, number) = name.strip_prefix("audit-")?.strip_suffix(".ndjson")?.rsplit_once('-')?;
        let (instance, stamp) = rest.rsplit_once('-')?;
        Some(Self { instance: instance.to_owned(), stamp: stamp.to_owned(), number: number.parse().ok()? })
    }
}

/// The file's name before it was compressed.
pub(crate) fn bare_name(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match name.strip_suffix(".zst").or_else(|| name.strip_suffix(".gz")) {
        Some(bare) => bare.to_owned(),
        None => name,
    }
}

/// Leaves out what is compressed of a file that is there, too: whoever compresses one writes the copy first, and may be
/// interrupted before the original is gone. The original is the one that is whole.
pub(crate) fn drop_copies(found: &mut Vec<PathBuf>) {
    let plain: HashSet<PathBuf> = found.iter().filter(|path| !is_compressed(path)).cloned().collect();
    found.retain(|path| !is_compressed(path) || !plain.contains(&path.with_extension("")));
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gz" || end == "zst")
}

/// All segments of a directory: by instance, oldest first. A segment whose compressing was interrupted is there twice.
pub(crate) fn all_segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(name) = SegmentName::of(&path) {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// [`all_segments`], each once.
pub(crate) fn segments_once(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = all_segments(dir)?;
    drop_copies(&mut found);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_instance_and_order() {
        let name = |text: &str| SegmentName::of(Path::new(text));
        let first = name("/x/audit-web-1-20261124T114556Z-9.ndjson").unwrap();
        assert_eq!((first.instance.as_str(), first.number), ("web-1", 9));
        assert!(first < name("audit-web-1-20261124T114556Z-10.ndjson.zst").unwrap());
        assert_eq!(name("audit-web-1-20261124T114556Z-9.ndjson.zst.tmp"), None);
        assert_eq!(name("audit.keys"), None);
        assert_eq!(bare_name(Path::new("/x/a.ndjson.gz")), "a.ndjson");
    }

    #[test]
    fn a_file_whose_compressing_was_interrupted_counts_once() {
        let paths = |names: &[&str]| names.iter().map(|name| Path::new("/x").join(name)).collect::<Vec<_>>();
        let mut found =
            paths(&["a.ndjson", "a.ndjson.zst", "b.ndjson.gz", "c.log", "c.log.1", "c.log.1.gz", "d.log.gz"]);
        drop_copies(&mut found);
        assert_eq!(found, paths(&["a.ndjson", "b.ndjson.gz", "c.log", "c.log.1", "d.log.gz"]));
    }

    #[test]
    fn lines_keep_their_bytes() {
        let path = std::env::temp_dir().join(format!("deckle-segment-file-{}", std::process::id()));
        for (bytes, compression) in
            [(b"a\nb".to_vec(), Compression::Plain), (zstd::encode_all(&b"a\nb"[..], 1).unwrap(), Compression::Zstd)]
        {
            std::fs::write(&path, bytes).unwrap();
            let mut lines = SegmentLines::open(&path).unwrap();
            assert_eq!(lines.compression, compression);
            assert_eq!(lines.next_line().unwrap(), Some(&b"a\n"[..]));
            assert_eq!(lines.next_line().unwrap(), Some(&b"b"[..]));
            assert_eq!(lines.next_line().unwrap(), None);
        }
        std::fs::write(&path, vec![b'x'; 3 << 20]).unwrap();
        assert!(SegmentLines::open(&path).unwrap().next_line().is_err());
        std::fs::remove_file(path).unwrap();
    }

    #[cfg(feature = "clickhouse")]
    #[test]
    fn a_line_that_is_being_written_waits_for_its_end() {
        use std::io::Write;
        let path = std::env::temp_dir().join(format!("deckle-segment-tail-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let mut lines = SegmentLines::open(&path).unwrap();
        assert_eq!(lines.next_whole_line().unwrap(), None);
        for (written, read) in [("a\nb", Some("a")), ("", None), ("c", None), ("\n\n", Some("bc")), ("d\n", Some(""))] {
            file.write_all(written.as_bytes()).unwrap();
            assert_eq!(lines.next_whole_line().unwrap(), read.map(str::as_bytes), "{written:?}");
        }
        assert_eq!(lines.next_whole_line().unwrap(), Some(&b"d"[..]));
        // Named as before or not: what was opened is read to its end.
        std::fs::remove_file(&path).unwrap();
        file.write_all(b"e\n").unwrap();
        assert_eq!(lines.next_whole_line().unwrap(), Some(&b"e"[..]));
    }
}
