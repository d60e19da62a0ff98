//! The counter of a socket, made when it is first selected.

use aya_ebpf::bindings::BPF_NOEXIST;
use reuse_ebpf::count::{Lost, Selection};

use super::{
    datagram::{Header, takes_batches},
    flows,
    sock::Sock,
};
use crate::programs::{atomic::add, emit::count_lost, maps::SELECTIONS};

/// A counter with its key: an element of the map, valid while the program runs. Counts are shared between CPUs and atomic,
/// the rest are hints, written whole.
#[derive(Clone, Copy)]
pub(super) struct Counter {
    entry: *mut Selection,
    key: u64,
}

impl Counter {
    /// That of a socket; `None`, and one more in the loss counter, where there is no room. One without a key was closed in
    /// this very moment: what it got goes with it.
    #[inline(always)]
    pub(super) fn of<const TYPED: bool>(sk: Sock<TYPED>, datagrams: bool) -> Option<Self> {
        let key = sk.key()?;
        let entry = entry(key, sk, datagrams);
        if entry.is_none() {
            count_lost(Lost::SelectionMap);
        }
        entry.map(|entry| Self { entry, key })
    }

    #[inline(always)]
    pub(super) fn add(self, selections: u64) {
        // SAFETY: as the type says.
        unsafe { add(&raw mut (*self.entry).selected, selections) };
    }

    /// Notes whether the newest datagram is a copy, and says it again.
    #[inline(always)]
    pub(super) fn is_copy(self, copy: bool) -> bool {
        // SAFETY: as the type says.
        unsafe { (&raw mut (*self.entry).copy).write_volatile(u8::from(copy)) };
        copy
    }

    #[inline(always)]
    pub(super) fn last_was_copy(self) -> bool {
        // SAFETY: as the type says.
        unsafe { (&raw const (*self.entry).copy).read_volatile() != 0 }
    }

    #[inline(always)]
    pub(super) fn batches(self) -> bool {
        // SAFETY: as the type says.
        unsafe { (&raw const (*self.entry).batches).read_volatile() != 0 }
    }

    #[inline(always)]
    pub(super) fn set_batches(self, batches: bool) {
        // SAFETY: as the type says.
        unsafe { (&raw mut (*self.entry).batches).write_volatile(u8::from(batches)) };
    }

    #[inline(always)]
    pub(super) fn note_flow(self, header: &Header) {
        // SAFETY: both are of this counter.
        unsafe { flows::note(self.entry, self.key, header) };
    }
}

#[inline(always)]
fn entry<const TYPED: bool>(key: u64, sk: Sock<TYPED>, datagrams: bool) -> Option<*mut Selection> {
    if let Some(entry) = SELECTIONS.get_ptr_mut(key) {
        return Some(entry);
    }
    let inode = sk.inode();
    // What was counted before it had a cookie stays where it is; only the hint is needed here too.
    let before = SELECTIONS.get_ptr(Selection::key_of_inode(inode));
    // SAFETY: an element of the map, valid while the program runs.
    let copy = before.map_or(0, |before| unsafe { (&raw const (*before).copy).read_volatile() });
    let new = Selection {
        selected: 0,
        inode,
        sock: sk.address(),
        flows: 0,
        latest: 0,
        copy,
        tells_flows: u8::from(datagrams && flows::are_told()),
        batches: u8::from(datagrams && takes_batches(sk)),
        reserved: [0; 5],
    };
    // Losing the race against another CPU is fine: the look-up below finds its entry.
    let _ = SELECTIONS.insert(key, new, u64::from(BPF_NOEXIST));
    SELECTIONS.get_ptr_mut(key)
}
