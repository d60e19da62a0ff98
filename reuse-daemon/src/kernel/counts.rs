//! The selection counters, read in one pass together with what each socket says of itself at that moment.

mod flows;

use std::{
    io::{self, Read as _},
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{HashMap, MapData, PerCpuArray};
use reuse_ebpf::{
    count::{Lost, ProbeKey, Selection, passed},
    record::Way,
};
use reuse_model::{
    cross_check::{self, ByWay},
    event::{Counter, MemberCount},
    socket::{Cookie, Inode},
};

pub use reuse_ebpf::flow::FLOWS_TRUSTED;

pub use self::flows::Flows;
use super::{decode, sys};

/// Selections by socket.
pub struct Selections {
    map: HashMap<MapData, u64, Selection>,
    iterator: Option<OwnedFd>,
    flows: Flows,
    bytes: Vec<u8>,
}

impl Selections {
    pub(super) fn new(
        map: HashMap<MapData, u64, Selection>,
        iterator: Option<OwnedFd>,
        flows: Flows,
    ) -> Self {
        Self { map, iterator, flows, bytes: Vec::new() }
    }

    /// Everything counted so far. Without the iterator the sockets' own numbers are missing.
    ///
    /// # Errors
    /// The iterator or the map fails.
    pub fn read(&mut self) -> io::Result<Vec<MemberCount>> {
        let mut counts = match &self.iterator {
            None => self.read_map()?,
            Some(link) => {
                self.bytes.clear();
                sys::open_iterator(link.as_fd())?.read_to_end(&mut self.bytes)?;
                decode::counts(&self.bytes).collect()
            }
        };
        flows::leave_out_shared_windows(&mut counts);
        Ok(counts)
    }

    /// Begins a new window for the flows of one counter: each that comes from now on is new to it. Of no consequence where
    /// flows are not told apart.
    ///
    /// # Errors
    /// The map fails.
    pub fn turn_window(&mut self, counter: Counter) -> io::Result<()> {
        self.flows.turn(counter)
    }

    /// Flows that were entered in the map of flows since the daemon started, of all sockets. Where more than
    /// [`FLOWS_TRUSTED`] were in a window, its flows may be counted more than once; `None` where it cannot be read.
    #[must_use]
    pub fn flows_entered(&self) -> Option<u64> {
        self.flows.entered()
    }

    fn read_map(&self) -> io::Result<Vec<MemberCount>> {
        let entries = self.map.iter().map(|entry| {
            let (key, value) = entry.map_err(io::Error::other)?;
            let (counter, inode) = (Counter(key), Inode(value.inode));
            let flows = (value.tells_flows == 1).then_some(value.flows);
            Ok(MemberCount { counter, inode, selections: value.selected, flows, live: None })
        });
        entries.collect()
    }

    /// Forgets a counter whose socket is gone, after its last count was taken.
    pub fn forget(&mut self, counter: Counter) {
        // Gone already is as good.
        let _ = self.map.remove(&counter.0);
    }
}

/// The same counters, looked up one by one.
pub struct OwnSelections(pub(super) HashMap<MapData, u64, Selection>);

impl OwnSelections {
    /// Selections of one socket that always had its cookie, 0 if it never was selected.
    #[must_use]
    pub fn of(&self, cookie: Cookie) -> u64 {
        self.0.get(&cookie.0, 0).map_or(0, |value| value.selected)
    }

    /// Forgets the counter of a socket that is gone.
    pub fn forget(&mut self, counter: Counter) {
        // Gone already is as good.
        let _ = self.0.remove(&counter.0);
    }
}

/// Hashes the kernel computed for probes of the test group.
pub struct Hashes(pub(super) HashMap<MapData, ProbeKey, u32>);

impl Hashes {
    /// The hash seen for a probe, taken out.
    #[must_use]
    pub fn take(&mut self, key: ProbeKey) -> Option<u32> {
        let hash = self.0.get(&key, 0).ok()?;
        let _ = self.0.remove(&key);
        Some(hash)
    }
}

/// What the programs could not tell.
pub struct Losses(pub(super) PerCpuArray<MapData, u64>);

impl Losses {
    /// Losses by stage, summed over the CPUs; 0 where the map cannot be read.
    #[must_use]
    pub fn read(&self) -> [(Lost, u64); Lost::ALL.len()] {
        Lost::ALL.map(|stage| {
            let sum = self.0.get(&(stage as u32), 0).map_or(0, |values| values.iter().sum());
            (stage, sum)
        })
    }
}

/// Binds that passed the hooks of the root cgroup.
pub struct Passed(pub(super) PerCpuArray<MapData, u64>);

impl Passed {
    /// Both counts by way, summed over the CPUs; `None` where the map cannot be read.
    #[must_use]
    pub fn read(&self) -> Option<cross_check::Passed> {
        Some(cross_check::Passed {
            attempts: self.sums(passed::attempts)?,
            successes: self.sums(passed::successes)?,
        })
    }

    fn sums(&self, slot: fn(Way) -> u32) -> Option<ByWay> {
        let mut sums = ByWay::default();
        for (sum, way) in sums.iter_mut().zip(Way::EXPLICIT) {
            *sum = self.0.get(&slot(way), 0).ok()?.iter().sum();
        }
        Some(sums)
    }
}
