//! Events on stdout: written by a thread of its own, so that a reader who stops reading holds up nothing else.
//!
//! What the channel cannot take and what stdout refuses is counted, never waited for. A reader that is gone is no
//! reason to stop: the daemon serves metrics all the same.

mod sink;

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use jiff::tz::TimeZone;
use reuse_model::report::Record;

use crate::{config::EventFormat, render};
use sink::Sink;

/// Records that may wait to be written: a burst of 15,000 binds with their closes. Full, it holds some 25 MiB.
const WAITING: usize = 32_768;
/// Bytes to gather before writing, while more records wait.
const BATCH: usize = 64 * 1024;
/// How long the writer naps after it wrote something: in a flood nobody spends the time to wake it for each record.
const NAP: Duration = Duration::from_millis(2);

/// The way to the thread that writes.
#[derive(Debug)]
pub struct EventWriter {
    records: SyncSender<Box<Record>>,
    lost: Arc<AtomicU64>,
    ended: Receiver<()>,
}

impl EventWriter {
    /// Starts writing to stdout. `colored`: whether text may have colour.
    ///
    /// # Errors
    /// When stdout cannot be duplicated or the thread cannot be made.
    pub fn stdout(format: EventFormat, colored: bool) -> io::Result<Self> {
        // Not through the lock of `Stdout`, which flushes at each newline.
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Self::start(format, colored, stdout)
    }

    /// Starts writing to `out`.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(format: EventFormat, colored: bool, out: impl Write + Send + 'static) -> io::Result<Self> {
        let (records, waiting) = mpsc::sync_channel(WAITING);
        let (ending, ended) = mpsc::channel();
        let lost = Arc::new(AtomicU64::new(0));
        // Finding it out lists all zones of the host.
        let zone = match format {
            EventFormat::Text => TimeZone::system(),
            EventFormat::Json => TimeZone::UTC,
        };
        let mut writer = Writer { format, colored, zone, waiting, sink: Sink::new(out, Arc::clone(&lost)) };
        thread::Builder::new().name("events".to_owned()).spawn(move || {
            writer.run();
            drop(ending);
        })?;
        Ok(Self { records, lost, ended })
    }

    /// Passes a record on, or counts it as lost.
    pub fn send(&self, record: Record) {
        if self.records.try_send(Box::new(record)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Records that never reached stdout: loss at stage `event_output`.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Writes what waits, for as long as `patience` lasts; a thread that hangs in a write is left behind.
    pub fn finish(self, patience: Duration) {
        let Self { records, lost: _, ended } = self;
        drop(records);
        // Either error means that there is nothing more to wait for.
        let _ = ended.recv_timeout(patience);
    }
}

/// The thread's own side.
struct Writer<W> {
    format: EventFormat,
    colored: bool,
    /// Of the reader of text
    zone: TimeZone,
    waiting: Receiver<Box<Record>>,
    sink: Sink<W>,
}

impl<W: Write> Writer<W> {
    /// Writes until no one can send any more.
    fn run(&mut self) {
        let mut batch = Vec::new();
        while let Ok(record) = self.waiting.recv() {
            self.append(&record, &mut batch);
            while !batch.is_empty() {
                self.sink.write_lines(&batch);
                if batch.len() < BATCH {
                    thread::sleep(NAP);
                }
                batch.clear();
                self.gather(&mut batch);
            }
        }
    }

    /// Appends what waits, until the batch is full.
    fn gather(&self, batch: &mut Vec<u8>) {
        while batch.len() < BATCH
            && let Ok(record) = self.waiting.try_recv()
        {
            self.append(&record, batch);
        }
    }

    fn append(&self, record: &Record, batch: &mut Vec<u8>) {
        match self.format {
            EventFormat::Text => {
                let mut line = String::new();
                render::event::line(record, &self.zone, self.colored, &mut line);
                batch.extend(line.into_bytes());
            }
            EventFormat::Json => {
                let before = batch.len();
                match serde_json::to_writer(&mut *batch, record) {
                    Ok(()) => batch.push(b'\n'),
                    // No record has a key that is no string, the only thing that can go wrong.
                    Err(error) => {
                        batch.truncate(before);
                        log::error!("an event cannot be JSON: {error}");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
