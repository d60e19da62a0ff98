//! Sockets in no SO_REUSEPORT group whose traffic is counted all the same, as a member's is.

use std::{collections::BTreeSet, io};

use aya::maps::{Array, HashMap, MapData};
pub use reuse_ebpf::count::WATCHED_MAX;
use reuse_model::socket::Inode;

/// What is watched now. Their counts are among the selections, from when they are watched on.
pub struct Watched {
    inodes: HashMap<MapData, u64, u8>,
    /// Whether there are any, which the programs look at first
    any: Array<MapData, u32>,
    now: BTreeSet<Inode>,
}

impl Watched {
    pub(super) fn new(inodes: HashMap<MapData, u64, u8>, any: Array<MapData, u32>) -> Self {
        Self { inodes, any, now: BTreeSet::new() }
    }

    /// Watches these sockets and no others. What is beyond the first [`WATCHED_MAX`] is not watched.
    ///
    /// # Errors
    /// A map fails; what was changed until then stays changed, and the next call goes on from there.
    pub fn set(&mut self, inodes: impl Iterator<Item = Inode>) -> io::Result<()> {
        let wanted: BTreeSet<_> = inodes.take(WATCHED_MAX as usize).collect();
        let gone: Vec<_> = self.now.difference(&wanted).copied().collect();
        for inode in gone {
            self.inodes.remove(&inode.0).map_err(io::Error::other)?;
            self.now.remove(&inode);
        }
        for inode in wanted {
            if !self.now.contains(&inode) {
                self.inodes.insert(inode.0, 1, 0).map_err(io::Error::other)?;
                self.now.insert(inode);
            }
        }
        self.any.set(0, u32::from(!self.now.is_empty()), 0).map_err(io::Error::other)
    }

    /// Whether a socket is watched.
    #[must_use]
    pub fn contains(&self, inode: Inode) -> bool {
        self.now.contains(&inode)
    }
}
