//! The initial file system of a virtual machine: a cpio archive in the "newc" format that the kernel unpacks
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context as _, Result};

const FOLDERS: &[&str] = &["dev", "proc", "sys", "tmp", "run", "root"];
/// Character device 5:1 (`Documentation/admin-guide/devices.txt`). Without it init starts with no standard output.
const CONSOLE: (u32, u32) = (5, 1);

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Writes an archive with the given programs at the root, each under its name.
///
/// # Errors
/// If a program cannot be read or the archive not be written.
pub(crate) fn write(archive: &Path, programs: &[(&str, &Path)]) -> Result<()> {
    let mut cpio = Cpio { out: Vec::new(), inode: 0 };
    for folder in FOLDERS {
        cpio.entry(folder, DIRECTORY, (0, 0), &[])?;
    }
    cpio.entry("dev/console", CHARACTER_DEVICE, CONSOLE, &[])?;
    for (name, program) in programs {
        let data = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        cpio.entry(name, EXECUTABLE, (0, 0), &data)?;
    }
    fs::write(archive, cpio.finish()?).with_context(|| format!("cannot write {}", archive.display()))
}

struct Cpio<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Cpio<W> {
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, "newc sizes have 32 bits");
        let size = u32::try_from(data.len()).map_err(too_long)?;
        // The name's terminating zero counts.
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        self.inode += 1;
        let (uid, gid, links, time) = (0, 0, 1, 0);
        let (major, minor, checksum) = (0, 0, 0);
        let fields = [
            self.inode, mode, uid, gid, links, time, size, major, minor, device.0, device.1, name_size,
            checksum,
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08X}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        let header = 6 + 8 * fields.len();
        self.pad(header + name.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    /// Every header and every file starts at a multiple of four bytes.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        let padding = written.next_multiple_of(4) - written;
        self.out.write_all(&[0; 3][..padding])
    }

    fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut cpio = Cpio { out: Vec::new(), inode: 0 };
        for (name, mode, data) in entries {
            cpio.entry(name, *mode, (0, 0), data).unwrap();
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
}
