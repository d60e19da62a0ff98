//! The windows in which flows are told apart, see [`reuse_ebpf::flow`].

use std::{collections::HashMap, io};

use aya::maps::{Array, MapData, PerCpuArray};
use reuse_ebpf::flow::window_of;
use reuse_model::event::{Counter, MemberCount};

/// The windows, and how full the map of flows may be.
pub struct Flows {
    pub(in crate::kernel) windows: Array<MapData, u64>,
    pub(in crate::kernel) entered: PerCpuArray<MapData, u64>,
}

impl Flows {
    /// Moves the window of a counter on.
    ///
    /// # Errors
    /// The map fails.
    pub(super) fn turn(&mut self, counter: Counter) -> io::Result<()> {
        let slot = window_of(counter.0);
        let window = self.windows.get(&slot, 0).map_err(io::Error::other)?;
        self.windows.set(slot, window.wrapping_add(1), 0).map_err(io::Error::other)
    }

    pub(super) fn entered(&self) -> Option<u64> {
        Some(self.entered.get(&0, 0).ok()?.iter().sum())
    }
}

/// Takes the flows from counters that share a window: when it turns for one of them, the other counts its flows again.
pub(super) fn leave_out_shared_windows(counts: &mut [MemberCount]) {
    let mut sharing: HashMap<u32, u32> = HashMap::with_capacity(counts.len());
    for count in &*counts {
        *sharing.entry(window_of(count.counter.0)).or_default() += 1;
    }
    for count in counts {
        if sharing.get(&window_of(count.counter.0)).is_some_and(|sharing| *sharing > 1) {
            count.flows = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use reuse_ebpf::flow::WINDOWS;
    use reuse_model::socket::Inode;

    use super::*;

    fn count(key: u64) -> MemberCount {
        MemberCount { counter: Counter(key), inode: Inode(key), selections: 9, flows: Some(9), live: None }
    }

    #[test]
    fn who_shares_a_window_has_no_flows() {
        let mut counts = [count(1), count(2), count(1 + u64::from(WINDOWS))];
        leave_out_shared_windows(&mut counts);
        assert_eq!(counts.map(|count| count.flows), [None, Some(9), None]);
        assert!(counts.iter().all(|count| count.selections == 9));
    }
}
