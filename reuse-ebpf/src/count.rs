//! Values of the maps that count in the kernel and are read at scrape.

use crate::group::RawGroup;

/// What is counted for one socket of a SO_REUSEPORT group. Key of the map: the socket's cookie; while it has none and the
/// program cannot make one, [`Selection::key_of_inode`]. A socket may so have two, which add up.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Connections queued to, or unicast datagrams delivered to or refused by a full buffer of, this socket
    pub selected: u64,
    /// Inode number when first selected; an MPTCP subflow has its parent's
    pub inode: u64,
    /// `struct sock *`, only to look at the socket again; it is checked by what the key says before it is believed
    pub sock: u64,
    /// Flows that were new to the socket in the window that ran then, see [`crate::flow`]
    pub flows: u64,
    /// The flow that was looked at last and its window, as one number
    pub latest: u64,
    /// 1 if the newest datagram that could be looked at was a multicast or broadcast copy
    pub copy: u8,
    /// 1 if its flows are told apart: a socket of UDP, where the programs can
    pub tells_flows: u8,
    /// 1 if one wake-up may stand for several datagrams (`UDP_GRO`)
    pub batches: u8,
    /// Always 0
    pub reserved: [u8; 5],
}
const _: () = assert!(size_of::<Selection>() == 48);

impl Selection {
    /// Marks keys that are inode numbers. Those of sockets have 32 bits (fs/inode.c, `get_next_ino`). Cookies are counted
    /// up from 1, and those made in an interrupt of that down from 2^64 - 1 (include/linux/cookie.h): none comes near.
    const BY_INODE: u64 = 1 << 63;

    /// Key of a socket without a cookie.
    #[must_use]
    pub const fn key_of_inode(inode: u64) -> u64 {
        Self::BY_INODE | inode & u32::MAX as u64
    }

    /// Whether a key is one of those.
    #[must_use]
    pub const fn is_key_of_inode(key: u64) -> bool {
        key & !(u32::MAX as u64) == Self::BY_INODE
    }
}

/// Most sockets the selection map holds.
pub const SELECTIONS_MAX: u32 = 1 << 16;

/// Most sockets in no group that are counted as if they were in one.
pub const WATCHED_MAX: u32 = 1024;

/// Most sockets whose owners are looked for at once.
pub const WANTED_MAX: u32 = 1024;

/// One row of the iterator over the selection map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelectionRow {
    /// Key of the map
    pub key: u64,
    /// As [`Selection::selected`]
    pub selected: u64,
    /// As [`Selection::inode`]
    pub inode: u64,
    /// As [`Selection::flows`]
    pub flows: u64,
    /// The group it is in, if `live`
    pub group: RawGroup,
    /// `sk_drops`, both halves added where the kernel splits it
    pub drops: u32,
    /// `sk_ack_backlog`
    pub accept_queue: u32,
    /// `sk_max_ack_backlog`
    pub accept_queue_limit: u32,
    /// `sk_rmem_alloc`, bytes
    pub receive_queue: u32,
    /// `sk_rcvbuf`, bytes
    pub receive_queue_limit: u32,
    /// 1 if the socket is still the one that was counted
    pub live: u8,
    /// `skc_state`, valid if `live`
    pub state: u8,
    /// As [`Selection::tells_flows`]
    pub tells_flows: u8,
    /// Always 0
    pub reserved: u8,
}
const _: () = assert!(size_of::<SelectionRow>() == 72);

/// Slots of the `PASSED` map: binds that passed the hooks of the root cgroup, by [`crate::record::Way`].
pub mod passed {
    use crate::record::Way;

    /// Number of slots.
    pub const LEN: u32 = 2 * Way::EXPLICIT.len() as u32;

    /// Slot of the binds that were about to be decided.
    #[must_use]
    pub const fn attempts(way: Way) -> u32 {
        way as u32
    }

    /// Slot of the binds that succeeded.
    #[must_use]
    pub const fn successes(way: Way) -> u32 {
        Way::EXPLICIT.len() as u32 + way as u32
    }
}

/// Key of the map of hashes seen by the program on the daemon's own groups.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProbeKey {
    /// `IPPROTO_TCP` or `IPPROTO_UDP`
    pub protocol: u8,
    /// 4 or 6
    pub version: u8,
    /// Source port of the probe, host byte order
    pub port: u16,
}
const _: () = assert!(size_of::<ProbeKey>() == 4);

/// Slots of the `LOST` map: where something that should have been told was not.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// No room in the ring for a bind or listen
    RingCall = 0,
    /// No room in the ring for a close
    RingClose = 1,
    /// No room in the ring for a process exit
    RingExit = 2,
    /// No room in the selection map for another socket
    SelectionMap = 3,
    /// No room in the map of probe hashes
    ProbeMap = 4,
    /// No room to build a record of a call: too many programs at once on one CPU
    Scratch = 5,
    /// No room in the map of flows: one was not counted
    FlowMap = 6,
    /// Several datagrams in one buffer (`UDP_GRO`) that was gone before it was looked at: counted as one
    Batch = 7,
    /// No room in the ring for a new process or program
    RingProcess = 8,
    /// No room in the ring for a change of a socket
    RingTouch = 9,
    /// No room in the ring for a descriptor that goes from one process to another
    RingPass = 10,
}

impl Lost {
    /// Every slot, in order.
    pub const ALL: [Self; 11] = [
        Self::RingCall,
        Self::RingClose,
        Self::RingExit,
        Self::SelectionMap,
        Self::ProbeMap,
        Self::Scratch,
        Self::FlowMap,
        Self::Batch,
        Self::RingProcess,
        Self::RingTouch,
        Self::RingPass,
    ];

    /// Value of the label `stage`.
    #[must_use]
    pub const fn stage(self) -> &'static str {
        match self {
            Self::RingCall => "ring_call",
            Self::RingClose => "ring_close",
            Self::RingExit => "ring_exit",
            Self::SelectionMap => "selection_map",
            Self::ProbeMap => "probe_map",
            Self::Scratch => "scratch",
            Self::FlowMap => "flow_map",
            Self::Batch => "batch",
            Self::RingProcess => "ring_process",
            Self::RingTouch => "ring_touch",
            Self::RingPass => "ring_pass",
        }
    }
}

// SAFETY: `repr(C)`, integers only, no padding (size asserted above), any bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Selection {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ProbeKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_cookie_or_an_inode_number() {
        for inode in [1, 4711, u64::from(u32::MAX)] {
            assert!(Selection::is_key_of_inode(Selection::key_of_inode(inode)));
        }
        assert_ne!(Selection::key_of_inode(1), Selection::key_of_inode(2));
        for cookie in [1, 4096, 1 << 40, u64::MAX, u64::MAX - 100_000] {
            assert!(!Selection::is_key_of_inode(cookie), "{cookie}");
        }
    }
}
