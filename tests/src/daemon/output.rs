//! What a child process writes, line by line, while it runs: into a file in memory, so that no slow reader ever holds
//! the child up.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// The lines one stream of a child has written so far, as bytes: whether they are text is for a test to say.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    read: Mutex<Read>,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Read {
    /// Bytes of whole lines.
    bytes: u64,
    lines: Vec<Vec<u8>>,
}

impl Output {
    pub(super) fn new() -> io::Result<Self> {
        let file = File::from(memfd_create(c"output", MFdFlags::MFD_CLOEXEC)?);
        Ok(Self { file, read: Mutex::default() })
    }

    /// The end a child writes to.
    pub(super) fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    /// The lines from number `from` on. A line counts once its newline is there.
    pub(super) fn since(&self, from: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.bytes_from(read.bytes)?;
        for line in fresh.split_inclusive(|byte| *byte == b'\n') {
            if let Some(line) = line.strip_suffix(b"\n") {
                read.bytes += line.len() as u64 + 1;
                read.lines.push(line.to_vec());
            }
        }
        Ok(read.lines.get(from..).unwrap_or_default().to_vec())
    }

    /// Everything as text, for messages.
    pub(super) fn text(&self) -> String {
        match self.bytes_from(0) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("(unreadable: {error})"),
        }
    }

    /// Reads without moving the offset, which the child shares.
    fn bytes_from(&self, start: u64) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len().saturating_sub(start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn gives_whole_lines_once() {
        let output = Output::new().expect("a file in memory");
        let mut child_end = output.file.try_clone().expect("a second descriptor");
        child_end.write_all(b"one\ntw").expect("memory");
        assert_eq!(output.since(0).expect("readable"), [b"one"]);
        child_end.write_all(b"o\n").expect("memory");
        assert_eq!(output.since(1).expect("readable"), [b"two"]);
        assert_eq!(output.text(), "one\ntwo\n");
    }
}
