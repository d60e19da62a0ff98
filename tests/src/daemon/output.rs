//! What a daemon writes, line by line, while it runs: into a file, so that no slow reader ever holds it up.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Bytes to read at once of what is not kept.
const CHUNK: usize = 1 << 20;

/// The lines one stream of a child has written so far, as bytes: whether they are text is for a test to say.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// Bytes that were there before, which are not read
    before: u64,
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
    /// In memory.
    pub(super) fn new() -> io::Result<Self> {
        Self::from_now(File::from(memfd_create(c"output", MFdFlags::MFD_CLOEXEC)?))
    }

    /// What is written to this file from now on. A line that was begun belongs to what was before.
    pub(super) fn from_now(file: File) -> io::Result<Self> {
        let mut output = Self { file, before: 0, read: Mutex::default() };
        let written = output.bytes_from(0)?;
        let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        output.before = whole as u64;
        Ok(output)
    }

    /// The end a child writes to.
    pub(super) fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    /// The lines from number `from` on. A line counts once its newline is there.
    pub(super) fn since(&self, from: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.bytes_from(self.before + read.bytes)?;
        for line in fresh.split_inclusive(|byte| *byte == b'\n') {
            if let Some(line) = line.strip_suffix(b"\n") {
                read.bytes += line.len() as u64 + 1;
                read.lines.push(line.to_vec());
            }
        }
        Ok(read.lines.get(from..).unwrap_or_default().to_vec())
    }

    /// Hands over each whole line so far. None is kept: there may be gigabytes of them.
    ///
    /// # Errors
    /// Those of `each`, or when the file cannot be read.
    pub(super) fn each_line(&self, mut each: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let end = self.file.metadata()?.len();
        let (mut at, mut unread) = (self.before, Vec::new());
        while at < end {
            let held = unread.len();
            unread.resize(held + CHUNK.min(usize::try_from(end - at)?), 0);
            self.file.read_exact_at(&mut unread[held..], at)?;
            at += (unread.len() - held) as u64;
            let whole = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            for line in unread[..whole].split_inclusive(|byte| *byte == b'\n') {
                each(&line[..line.len() - 1])?;
            }
            unread.drain(..whole);
        }
        Ok(())
    }

    /// The lines that were there before.
    pub(super) fn earlier(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut written = self.bytes_from(0)?;
        written.truncate(usize::try_from(self.before).unwrap_or_default());
        Ok(written
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| line.trim_ascii_end().to_vec())
            .collect())
    }

    /// Everything as text, for messages.
    pub(super) fn text(&self) -> String {
        match self.bytes_from(self.before) {
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

    #[test]
    fn hands_over_lines_of_any_length() {
        let output = Output::new().expect("a file in memory");
        let lines = [vec![b'a'; CHUNK - 1], vec![b'b'; 3 * CHUNK], vec![], b"c".to_vec()];
        let mut child_end = output.file.try_clone().expect("a second descriptor");
        for line in &lines {
            child_end.write_all(line).and_then(|()| child_end.write_all(b"\n")).expect("memory");
        }
        child_end.write_all(b"begun").expect("memory");
        let mut seen = Vec::new();
        let mut note = |line: &[u8]| {
            seen.push(line.to_vec());
            Ok(())
        };
        output.each_line(&mut note).expect("readable");
        assert!(seen == lines);
    }

    #[test]
    fn gives_nothing_of_before() {
        let earlier = Output::new().expect("a file in memory");
        let mut child_end = earlier.file.try_clone().expect("a second descriptor");
        child_end.write_all(b"one\ntw").expect("memory");
        let later =
            Output::from_now(earlier.file.try_clone().expect("a third descriptor")).expect("readable");
        assert!(later.since(0).expect("readable").is_empty());
        assert_eq!(later.earlier().expect("readable"), [b"one"]);
        child_end.write_all(b"o\nthree\n").expect("memory");
        assert_eq!(later.since(0).expect("readable"), [&b"two"[..], b"three"]);
        assert_eq!(later.text(), "two\nthree\n");
    }
}
