//! Every descriptor of every process that refers to a socket holding a port, read through the iterator over files.

use std::{
    fs::File,
    io::{self, Read as _},
};

use reuse_model::event::{Scope, Snapshot};

use super::decode::Decoder;
use crate::clock::Clock;

/// A snapshot about to be read: open it on the daemon's thread, read it on one that may block.
pub struct Pending {
    pub(super) file: File,
    pub(super) decoder: Decoder,
    /// The iterator walks every process of the host
    pub(super) scope: Scope,
}

impl Pending {
    /// Reads it to the end.
    ///
    /// # Errors
    /// The iterator fails.
    pub fn read(mut self) -> io::Result<Snapshot> {
        let began = Clock::now();
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        let ended = Clock::now();
        Ok(Snapshot { began, ended, scope: self.scope, holdings: self.decoder.holdings(&bytes) })
    }

    /// Reads only so far that the program has run once: it then knows its reader, the daemon.
    ///
    /// # Errors
    /// The iterator fails.
    pub(super) fn learn_own_process(mut self) -> io::Result<()> {
        self.file.read(&mut [0; 256]).map(drop)
    }
}
