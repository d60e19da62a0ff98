//! The initial file system of a virtual machine: a cpio archive in the "newc" format that the kernel unpacks
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`). Not compressed: an emulated processor takes longer to
//! unpack than the host takes to hand it over.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const FOLDERS: &[&str] = &["dev", "proc", "sys", "tmp", "run", "root"];
/// Character device 5:1 (`Documentation/admin-guide/devices.txt`). Without it init starts with no standard output.
const CONSOLE: (u32, u32) = (5, 1);

const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
const SYMBOLIC_LINK: u32 = 0o120_777;

/// Something to be found in the machine, under a path without the leading slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Where it will be.
    pub(crate) path: String,
    /// What it will be.
    pub(crate) content: Content,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Content {
    /// A copy of a file of this machine, as executable and as old as it is here.
    Copy(PathBuf),
    /// A small file.
    Text(String),
    /// A link to another path.
    Link(String),
}

impl Entry {
    /// A copy of `source` at `path`.
    pub(crate) fn copy(path: impl Into<String>, source: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), content: Content::Copy(source.into()) }
    }

    /// A small file at `path`.
    pub(crate) fn text(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), content: Content::Text(text.into()) }
    }

    /// A link at `path`.
    pub(crate) fn link(path: &str, target: &str) -> Self {
        Self { path: path.to_owned(), content: Content::Link(target.to_owned()) }
    }
}

/// Writes an archive with the entries and every folder they need.
///
/// # Errors
/// If a file cannot be read or the archive not be written.
pub(crate) fn write<'a>(archive: &Path, entries: impl Iterator<Item = &'a Entry> + Clone) -> Result<()> {
    let file = File::create(archive).with_context(|| format!("cannot make {}", archive.display()))?;
    let mut cpio = Cpio { out: BufWriter::new(file), inode: 0 };
    for folder in folders(entries.clone().map(|entry| entry.path.as_str())) {
        cpio.entry(&Header::new(&folder, DIRECTORY), &[])?;
    }
    cpio.entry(&Header { device: CONSOLE, ..Header::new("dev/console", CHARACTER_DEVICE) }, &[])?;
    for Entry { path, content } in entries {
        let written = match content {
            Content::Copy(source) => {
                let (header, data) =
                    copied(path, source).with_context(|| format!("cannot read {}", source.display()))?;
                cpio.entry(&header, &data)
            }
            Content::Text(text) => cpio.entry(&Header::new(path, REGULAR), text.as_bytes()),
            Content::Link(target) => cpio.entry(&Header::new(path, SYMBOLIC_LINK), target.as_bytes()),
        };
        written.with_context(|| format!("cannot put {path} into {}", archive.display()))?;
    }
    let mut out = cpio.finish()?;
    out.flush().with_context(|| format!("cannot write {}", archive.display()))
}

fn copied<'a>(path: &'a str, source: &Path) -> io::Result<(Header<'a>, Vec<u8>)> {
    let metadata = fs::metadata(source)?;
    let mode = if metadata.mode() & 0o111 == 0 { REGULAR } else { EXECUTABLE };
    // Python trusts a compiled module only if it names the age of its source.
    let time = u32::try_from(metadata.mtime()).unwrap_or(0);
    Ok((Header { time, ..Header::new(path, mode) }, fs::read(source)?))
}

/// The usual folders and those the paths lie in, parents first.
fn folders<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut folders: BTreeSet<String> = FOLDERS.iter().map(|folder| (*folder).to_owned()).collect();
    for path in paths {
        let ends = path.match_indices('/').map(|(end, _)| end);
        folders.extend(ends.filter_map(|end| path.get(..end)).map(str::to_owned));
    }
    folders
}

/// What the archive says of a file beside its content.
#[derive(Debug, Clone, Copy)]
struct Header<'a> {
    path: &'a str,
    mode: u32,
    device: (u32, u32),
    time: u32,
}

impl<'a> Header<'a> {
    fn new(path: &'a str, mode: u32) -> Self {
        Self { path, mode, device: (0, 0), time: 0 }
    }
}

struct Cpio<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Cpio<W> {
    fn entry(&mut self, header: &Header<'_>, data: &[u8]) -> io::Result<()> {
        let Header { path, mode, device, time } = *header;
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, "newc sizes have 32 bits");
        let size = u32::try_from(data.len()).map_err(too_long)?;
        // The path's terminating zero counts.
        let path_size = u32::try_from(path.len() + 1).map_err(too_long)?;
        self.inode += 1;
        let (uid, gid, links) = (0, 0, 1);
        let (major, minor, checksum) = (0, 0, 0);
        let fields = [
            self.inode, mode, uid, gid, links, time, size, major, minor, device.0, device.1, path_size,
            checksum,
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08X}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        let header = 6 + 8 * fields.len();
        self.pad(header + path.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    /// Every header and every file starts at a multiple of four bytes.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        let padding = written.next_multiple_of(4) - written;
        self.out.write_all(&[0; 3][..padding])
    }

    fn finish(mut self) -> io::Result<W> {
        self.entry(&Header::new("TRAILER!!!", 0), &[])?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut cpio = Cpio { out: Vec::new(), inode: 0 };
        for (path, mode, data) in entries {
            cpio.entry(&Header::new(path, *mode), data).unwrap();
        }
        cpio.finish().unwrap()
    }

    #[test]
    fn one_entry_byte_by_byte() {
        let bytes = archive(&[("init", EXECUTABLE, b"abc")]);
        let expected = [
            "070701", "00000001", "000081ED", "00000000", "00000000", "00000001", "00000000", "00000003",
            "00000000", "00000000", "00000000", "00000000", "00000005", "00000000", "init\0", "\0", "abc\0",
        ]
        .concat();
        assert_eq!(&bytes[..expected.len()], expected.as_bytes());
        assert!(bytes[expected.len()..].starts_with(b"070701"));
    }

    #[test]
    fn every_part_is_aligned() {
        for length in 0..9 {
            let bytes = archive(&[("a", EXECUTABLE, &vec![b'x'; length])]);
            assert_eq!(bytes.len() % 4, 0, "{length}");
        }
    }

    #[test]
    fn a_folder_comes_after_the_one_it_is_in_and_once() {
        let made: Vec<String> = folders(["usr/lib/a", "usr/lib/b", "init"].into_iter()).into_iter().collect();
        let ours: Vec<&str> =
            made.iter().map(String::as_str).filter(|folder| folder.starts_with("usr")).collect();
        assert_eq!(ours, ["usr", "usr/lib"]);
    }

    #[test]
    fn a_copy_keeps_its_age_and_whether_it_can_run() {
        let own = std::env::current_exe().unwrap();
        let (header, data) = copied("x", &own).unwrap();
        assert_eq!(header.mode, EXECUTABLE);
        assert_eq!(i64::from(header.time), fs::metadata(&own).unwrap().mtime());
        assert!(data.starts_with(b"\x7fELF"));
    }
}
