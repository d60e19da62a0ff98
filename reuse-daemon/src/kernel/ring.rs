//! The ring of records, read with adaptive wake-ups: a busy reader naps and is never woken, an idle one sleeps until the
//! next record. The wake-up is the dearest part of an event, so producers send one only to a reader that says it sleeps.

use std::{io, os::fd::AsFd as _, time::Duration};

use aya::maps::{Array, MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{Interest, unix::AsyncFd};

/// How long a busy reader naps: the longest an event waits, and the most wake-ups a second a flood can cause.
const NAP: Duration = Duration::from_millis(1);

/// The reading end.
pub struct Ring {
    records: AsyncFd<RingBuf<MapData>>,
    sleeping: Array<MapData, u32>,
    busy: bool,
}

impl Ring {
    /// Takes both maps. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub fn new(records: RingBuf<MapData>, sleeping: Array<MapData, u32>) -> io::Result<Self> {
        // SAFETY: the map owns its descriptor, which stays the same and open until the map is dropped.
        let records = unsafe { AsyncFd::register_with_interest(records, Interest::READABLE) }?;
        Ok(Self { records, sleeping, busy: false })
    }

    /// Hands over at most `limit` bytes of records, oldest first, and the record that reaches it. How many bytes there were:
    /// fewer than `limit` once there is no more.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> usize {
        let ring = self.records.get_mut();
        let mut bytes = 0;
        while bytes < limit
            && let Some(record) = ring.next()
        {
            each(&record);
            bytes += record.len();
        }
        self.busy = bytes > 0;
        bytes
    }

    /// Returns when a drain is worth while. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The map or the descriptor fails; neither is expected.
    pub async fn ready(&mut self) -> io::Result<()> {
        if self.busy {
            tokio::time::sleep(NAP).await;
            return Ok(());
        }
        self.sleeping.set(0, 1, 0).map_err(io::Error::other)?;
        loop {
            // Level-checked after the flag is set: a record reserved before is seen here, one reserved later finds the
            // flag. Tokio watches edges only.
            if self.has_records()? {
                return Ok(());
            }
            let mut guard = self.records.readable().await?;
            guard.clear_ready();
        }
    }

    fn has_records(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.records.get_ref().as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
    }
}
