//! The sockets on a port, read right after the kernel refused it: what the answer depended on.
//!
//! TCP: the port's bucket and its owners, listeners first by their own table, since a listener may sit behind tens of
//! thousands of connections (net/ipv4/inet_hashtables.c). UDP: the chain that the kernel scanned, in its order
//! (net/ipv4/udp.c, `udp_lib_get_port`). No lock is taken, so a list may change meanwhile: that is noticed and said.
//! Which of these sockets refused, and why, is decided by the daemon.

mod address;
mod hash;
mod occupant;
mod scratch;
mod tcp;
mod udp;
mod walk;

use aya_ebpf::{cty::c_void, helpers::generated::bpf_loop};
use reuse_ebpf::record::{OCCUPANTS_MAX, OccupantRecord, RING_BYTES, SOCKADDR, Table};

pub(crate) use self::scratch::{Scratch, claim, release};
use self::{
    address::Address,
    scratch::{HEAD, Walk},
};
use super::{
    emit::has_unread,
    field::{is_there, offset, read, zero},
    socket::{AF_INET, AF_INET6, Copied, IPPROTO_MPTCP, IPPROTO_TCP, IPPROTO_UDP},
};

/// Nanoseconds that a walk may add to a refused call: where nothing is in the cache, each socket costs hundreds.
pub(crate) const BRIEFLY: u64 = 45_000;
/// Nanoseconds of a walk that nobody else waits for.
pub(crate) const AT_LEISURE: u64 = 1_000_000_000;

/// Sockets that a record shows in any case: listeners come first.
const FEW: u32 = 4;

/// Most steps of one walk; what is beyond is said to be truncated.
const STEPS_MAX: u32 = 1 << 13;

/// An address and port that a socket asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    address: Address,
    /// Host byte order
    pub(crate) port: u16,
}

impl Wanted {
    /// From the two words of an IPv6 or mapped address, and a port.
    #[inline(always)]
    pub(crate) fn new(low: u64, high: u64, port: u16) -> Self {
        Self { address: Address(low, high), port }
    }

    /// From the bytes of a socket address, for a socket of `family`; `None` where it has not that family or its length.
    #[inline(always)]
    pub(crate) fn from_sockaddr(bytes: &[u8; SOCKADDR], length: u32, family: u16) -> Option<Self> {
        const SOCKADDR_IN: u32 = 16;
        const SOCKADDR_IN6: u32 = 24;
        let at = bytes.as_ptr();
        // SAFETY: both forms lie within the SOCKADDR bytes.
        unsafe {
            let port = u16::from_be(at.add(2).cast::<u16>().read());
            let asked = at.cast::<u16>().read();
            if family == AF_INET && length >= SOCKADDR_IN && (asked == AF_INET || asked == 0) {
                let v4 = at.add(4).cast::<u32>().read();
                return Some(Self { address: Address::from_v4(v4), port });
            }
            if family == AF_INET6 && length >= SOCKADDR_IN6 && asked == AF_INET6 {
                let words = at.add(8).cast::<[u64; 2]>().read();
                return Some(Self { address: Address(words[0], words[1]), port });
            }
        }
        None
    }

    /// What a socket is bound to.
    #[inline(always)]
    pub(crate) fn of_bound(common: Copied) -> Self {
        Self { address: Address::of(common), port: common.at(offset!(sk_num)) }
    }
}

/// Writes what is asked for where no call does, to be read by [`wanted`].
///
/// # Safety
/// As [`read_port`].
#[inline(always)]
pub(crate) unsafe fn want(scratch: *mut Scratch, wanted: Wanted) {
    // SAFETY: promised by the caller.
    unsafe {
        (*scratch).walk.address = wanted.address;
        (*scratch).walk.port = wanted.port;
    }
}

/// What was written so.
///
/// # Safety
/// As [`read_port`].
#[inline(always)]
pub(crate) unsafe fn wanted(scratch: *const Scratch) -> Wanted {
    // SAFETY: promised by the caller.
    unsafe { Wanted { address: (*scratch).walk.address, port: (*scratch).walk.port } }
}

/// Reads the port that `sk` wanted into the scratch record, behind its call.
///
/// # Safety
/// `scratch` must point to the whole scratch record of this CPU.
#[inline(always)]
pub(crate) unsafe fn read_port(
    scratch: *mut Scratch,
    sk: u64,
    protocol: u16,
    common: Copied,
    wanted: Wanted,
    budget: u64,
) {
    if !is_there(offset!(net_hash_mix)) {
        return;
    }
    let net: u64 = common.at(offset!(sk_net));
    // SAFETY: promised by the caller; each part is written before the walk reads it.
    unsafe {
        let walk = &raw mut (*scratch).walk;
        (*walk).steps = 0;
        (*walk).then = 0;
        (*walk).candidate = 0;
        (*walk).net = net;
        (*walk).mix = read(net + offset!(net_hash_mix) as u64);
        (*walk).asking = sk;
        (*walk).address = wanted.address;
        (*walk).device = common.at(offset!(sk_bound_dev));
        (*walk).port = wanted.port;
        (*walk).family = common.at(offset!(sk_family));
        (*walk).listeners = 0;
        (*walk).others = 0;
        (*walk).budget = budget;
        let table = match protocol {
            IPPROTO_UDP => udp::begin(scratch, common),
            IPPROTO_TCP | IPPROTO_MPTCP => tcp::begin(scratch),
            _ => return,
        };
        (*scratch).evidence.table = table as u8;
        run(scratch);
        (*scratch).evidence.took_ns = (*scratch).elapsed() as u32;
    }
}

/// # Safety
/// As [`read_port`], and the walk must have begun.
#[inline(always)]
unsafe fn run(scratch: *mut Scratch) {
    let mut context = scratch;
    // SAFETY: the callback has the signature the helper calls, its context outlives the call.
    let steps =
        unsafe { bpf_loop(STEPS_MAX, walk::step as *mut c_void, (&raw mut context).cast::<c_void>(), 0) };
    if steps >= i64::from(STEPS_MAX) {
        // SAFETY: promised by the caller.
        unsafe { (*scratch).evidence.truncated = 1 };
    }
}

/// Leaves out all but the first sockets where the ring fills: then the calls to come are worth more than the rest of a crowd.
///
/// # Safety
/// As [`read_port`].
#[inline(always)]
pub(crate) unsafe fn make_room(scratch: *mut Scratch) {
    // SAFETY: promised by the caller.
    unsafe {
        let evidence = &raw mut (*scratch).evidence;
        if (*evidence).occupants > FEW && has_unread(RING_BYTES / 2) {
            (*evidence).occupants = FEW;
            (*evidence).truncated = 1;
        }
    }
}

/// Bytes of the record to send.
///
/// # Safety
/// As [`read_port`].
#[inline(always)]
pub(crate) unsafe fn length(scratch: *const Scratch) -> u64 {
    // SAFETY: promised by the caller.
    let occupants = unsafe { (*scratch).evidence.occupants };
    // The verifier wants to see the bound on the very register that the helper gets.
    let occupants =
        core::hint::black_box(occupants.min(OCCUPANTS_MAX as u32)) & (2 * OCCUPANTS_MAX as u32 - 1);
    HEAD as u64 + u64::from(occupants) * size_of::<OccupantRecord>() as u64
}

/// Clears what says how much of the evidence there is.
///
/// # Safety
/// As [`read_port`].
#[inline(always)]
pub(crate) unsafe fn clear(scratch: *mut Scratch) {
    // SAFETY: promised by the caller.
    unsafe {
        zero(&raw mut (*scratch).evidence);
        (*scratch).evidence.table = Table::None as u8;
    }
}

/// The walk of a scratch record.
///
/// # Safety
/// As [`read_port`].
#[inline(always)]
unsafe fn walk_of<'a>(scratch: *mut Scratch) -> &'a mut Walk {
    // SAFETY: promised by the caller; the reference does not outlive the program's run.
    unsafe { &mut (*scratch).walk }
}
