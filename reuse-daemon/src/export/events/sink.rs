//! Whole lines to a file that may refuse them.

use std::{
    io::{ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Where lines go, and how many did not get there.
pub(super) struct Sink<W> {
    out: W,
    lost: Arc<AtomicU64>,
    /// Whether the last line written is not whole
    torn: bool,
    /// Whether the last write failed, so that a row of failures is logged once
    failing: bool,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(out: W, lost: Arc<AtomicU64>) -> Self {
        Self { out, lost, torn: false, failing: false }
    }

    /// Writes lines, each with its newline, and counts those that are not written whole.
    pub(super) fn write_lines(&mut self, lines: &[u8]) {
        if self.torn && self.out.write_all(b"\n").is_ok() {
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return self.fail(lines, rest, &ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fail(lines, rest, &error),
            }
        }
        if self.failing {
            self.failing = false;
            log::info!("events are written again");
        }
    }

    /// Counts the lines of which `rest` has the end.
    fn fail(&mut self, lines: &[u8], rest: &[u8], error: &std::io::Error) {
        let lost = rest.iter().filter(|byte| **byte == b'\n').count();
        self.lost.fetch_add(lost as u64, Relaxed);
        let written = lines.len() - rest.len();
        self.torn |= written > 0 && lines.get(written - 1) != Some(&b'\n');
        if !self.failing {
            self.failing = true;
            log::warn!("events cannot be written to stdout and are lost until they can: {error}");
        }
    }
}
