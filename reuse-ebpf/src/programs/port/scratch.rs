//! Where a port is read into: the record that will be sent, and behind it how far the walk has come.

use aya_ebpf::{helpers::generated::bpf_ktime_get_boot_ns, macros::map, maps::PerCpuArray};
use reuse_ebpf::{
    count::Lost,
    record::{CallRecord, EvidenceRecord, OCCUPANTS_MAX, OccupantRecord},
};

use super::address::Address;
use crate::programs::{atomic::exchange, emit::count_lost, socket::Common};

/// A record under construction.
#[repr(C)]
pub(crate) struct Scratch {
    /// The call
    pub(crate) call: CallRecord,
    /// What it depended on
    pub(crate) evidence: EvidenceRecord,
    /// The sockets on the port
    pub(super) occupants: [OccupantRecord; OCCUPANTS_MAX],
    /// Not sent
    pub(super) walk: Walk,
    /// Not 0 while a program builds its record here
    taken: u64,
}

impl Scratch {
    /// Nanoseconds since the call was told of.
    #[inline(always)]
    pub(super) fn elapsed(&self) -> u64 {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_boot_ns() };
        // The clock that may be read anywhere can step back a little (kernel/time/timekeeping.c, `ktime_get_boot_fast_ns`).
        now.saturating_sub(self.call.boottime_ns)
    }
}
// What a per-CPU map can hold as one value (include/linux/percpu.h, PCPU_MIN_UNIT_SIZE).
const _: () = assert!(size_of::<Scratch>() <= 32 << 10);

/// Bytes before the first occupant.
pub(super) const HEAD: usize = size_of::<CallRecord>() + size_of::<EvidenceRecord>();

/// Programs on one CPU that may build a record at the same time: a tracepoint's program can be interrupted by another's, and
/// a cgroup's program be preempted where the kernel is built so.
const AT_ONCE: u32 = 3;

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(AT_ONCE, 0);

/// Takes a record of this CPU that no other program is building; to be given back by [`release`].
#[inline(always)]
pub(crate) fn claim() -> Option<*mut Scratch> {
    for place in 0..AT_ONCE {
        let scratch = SCRATCH.get_ptr_mut(place)?;
        // SAFETY: an element of the map; its flag is only changed so.
        if unsafe { exchange(&raw mut (*scratch).taken, 1) } == 0 {
            return Some(scratch);
        }
    }
    count_lost(Lost::Scratch);
    None
}

/// Gives it back.
///
/// # Safety
/// `scratch` must come from [`claim`] and not be used afterwards.
#[inline(always)]
pub(crate) unsafe fn release(scratch: *mut Scratch) {
    // SAFETY: promised by the caller.
    unsafe { exchange(&raw mut (*scratch).taken, 0) };
}

/// What a walk looks at next. Plain numbers: they live in a map, where the verifier knows no enumeration.
pub(super) mod phase {
    /// A bucket of the chain in the table of ports
    pub(crate) const BUCKET: u32 = 0;
    /// An address of the bucket, for its listeners
    pub(crate) const LISTENERS_OF: u32 = 1;
    /// A socket in a chain of listeners
    pub(crate) const LISTENER: u32 = 2;
    /// An address of the bucket, for its other owners
    pub(crate) const OWNERS_OF: u32 = 3;
    /// An owner
    pub(crate) const OWNER: u32 = 4;
    /// A socket in the slot of a UDP port
    pub(crate) const UDP_PORT: u32 = 5;
    /// A socket in the slot of a UDP address
    pub(crate) const UDP_ADDRESS: u32 = 6;
    /// Nothing
    pub(crate) const END: u32 = 7;
}

/// How far a walk has come, and what it looks for.
#[repr(C)]
pub(super) struct Walk {
    pub(super) phase: u32,
    /// The phase as it was when the current step began
    pub(super) entered: u32,
    pub(super) steps: u32,
    /// The socket that is looked at: the stack has no room
    pub(super) common: Common,
    /// Next link of the chain of sockets or buckets
    pub(super) node: u64,
    /// Next address of the bucket
    pub(super) entry: u64,
    /// First address of the bucket
    pub(super) first: u64,
    /// Slot of the wildcard that is scanned after the exact one, 0 for none
    pub(super) then: u64,
    /// Number of the slot whose chain is walked
    pub(super) slot: u32,
    /// Where listeners do not hang on addresses: which of the candidate addresses comes next
    pub(super) candidate: u32,
    /// Address whose listeners or owners are looked at
    pub(super) current: Address,
    pub(super) net: u64,
    pub(super) mix: u32,
    pub(super) mask: u32,
    /// The table of the chains that are walked: listeners, UDP
    pub(super) table: u64,
    /// The socket that asked
    pub(super) asking: u64,
    pub(super) address: Address,
    pub(super) device: u32,
    pub(super) port: u16,
    pub(super) family: u16,
    pub(super) listeners: u32,
    pub(super) others: u32,
    /// How long it may take, nanoseconds
    pub(super) budget: u64,
}
