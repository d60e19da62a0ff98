//! Collecting what a child process writes, line by line, while it runs.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// The lines one stream of a child has written so far, as bytes: whether they are text is for a test to say.
#[derive(Debug)]
pub(super) struct Lines {
    lines: Arc<Mutex<Vec<Vec<u8>>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    /// Reads `stream` on a thread until it ends.
    pub(super) fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { lines, reader: Some(reader) }
    }

    /// The lines from number `from` on.
    pub(super) fn since(&self, from: usize) -> Vec<Vec<u8>> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(from..).unwrap_or_default().to_vec()
    }

    /// Everything as text, for messages.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.since(0).join(&b'\n')).into_owned()
    }

    /// Waits for the end of the stream: only once its writer has ended.
    pub(super) fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has kept what it read.
            let _ = reader.join();
        }
    }
}
