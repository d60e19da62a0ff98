//! One socket of the port, as it is sent.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use reuse_ebpf::{
    offsets::ABSENT,
    record::{LISTENERS_MAX, OCCUPANTS_MAX, OTHERS_MAX, OccupantRecord, Table},
};

use super::{
    address::Address,
    scratch::{Scratch, Walk},
};
use crate::programs::{
    field::{offset, read, zero},
    socket::{Copied, TCP_TIME_WAIT, inode_number},
    uid::uid_of,
};

/// Whether a socket at `address` may be in the way: the same address, or one of the two has all of them. `v4` is its
/// `sk_rcv_saddr`, which an IPv6 socket has too. Coarser than any kernel's rule; the daemon applies the exact one.
#[inline(always)]
pub(super) fn may_overlap(walk: &Walk, address: Address, v4: u32) -> bool {
    let wanted = walk.address;
    wanted.is_wildcard()
        || address.is_wildcard()
        || wanted == address
        || (wanted.is_mapped() && wanted.v4() == v4)
}

/// Whether sockets on these devices can meet.
#[inline(always)]
pub(super) fn devices_meet(walk: &Walk, common: Copied) -> bool {
    let device: u32 = common.at(offset!(sk_bound_dev));
    device == 0 || walk.device == 0 || device == walk.device
}

/// Whether there is room; if not, that is noted.
#[inline(always)]
pub(super) fn take_room(scratch: &mut Scratch, listener: bool) -> bool {
    let (count, most) = if listener {
        (&mut scratch.walk.listeners, LISTENERS_MAX as u32)
    } else {
        (&mut scratch.walk.others, OTHERS_MAX as u32)
    };
    if *count >= most {
        scratch.evidence.truncated = 1;
        return false;
    }
    *count += 1;
    true
}

/// Adds a socket to the record. Room must have been taken.
#[inline(always)]
pub(super) fn add(scratch: &mut Scratch, sk: u64, common: Copied, address: Address) {
    note_wildcard_family(scratch, sk, address);
    let index = scratch.evidence.occupants;
    scratch.evidence.occupants = index + 1;
    let state: u8 = common.at(offset!(sk_state));
    // SAFETY: the mask keeps the index within the array, whose length is a power of two; all fields are written.
    unsafe {
        let to = (&raw mut scratch.occupants)
            .cast::<OccupantRecord>()
            .add((core::hint::black_box(index) & (OCCUPANTS_MAX as u32 - 1)) as usize);
        (&raw mut (*to).address).cast::<[u64; 2]>().write([address.0, address.1]);
        (*to).cookie = common.at(offset!(sk_cookie));
        (*to).device = common.at(offset!(sk_bound_dev));
        (*to).family = common.at(offset!(sk_family));
        (*to).state = state;
        (*to).bits = common.at(offset!(sk_reuse) >> 3);
        // `held` and what is always 0 behind it, as one word.
        zero((&raw mut (*to).held).cast::<u64>());
        // A TIME_WAIT socket is smaller: none of a full socket's members is there.
        if state == TCP_TIME_WAIT {
            let expires: u64 = read(sk + offset!(time_wait_expires) as u64);
            (*to).inode = 0;
            (*to).uid = 0;
            (*to).held = 0;
            (*to).expires_ticks = expires.saturating_sub(bpf_jiffies64()) as u32;
        } else {
            let inode = inode_of(sk);
            (*to).inode = inode;
            (*to).uid = uid_of(sk);
            (*to).held = (inode != 0) as u8;
            (*to).expires_ticks = 0;
        }
    }
}

/// Notes which family the port's bucket for all IPv4 addresses is of, if this socket is in it: sockets of both families
/// share it, and it keeps that of the first (net/ipv4/inet_hashtables.c of 6.1, `inet_bind2_bucket_init`).
#[inline(always)]
fn note_wildcard_family(scratch: &mut Scratch, sk: u64, address: Address) {
    let known = offset!(address_family) as u32 != ABSENT && offset!(sk_address_bucket) as u32 != ABSENT;
    if known && scratch.evidence.table == Table::Tcp as u8 && address.is_mapped() && address.v4() == 0 {
        let bucket: u64 = read(sk + offset!(sk_address_bucket) as u64);
        let family: u16 = read(bucket + offset!(address_family) as u64);
        scratch.evidence.wildcard_family = family as u8;
    }
}

/// Inode number of a full socket, 0 where no `struct socket` belongs to it. Since 6.18 the socket keeps it itself, and
/// clears it with its `struct socket` (include/net/sock.h, `sk_set_socket`).
#[inline(always)]
fn inode_of(sk: u64) -> u64 {
    if offset!(sk_ino) as u32 != ABSENT {
        return read(sk + offset!(sk_ino) as u64);
    }
    let socket: u64 = read(sk + offset!(sk_socket) as u64);
    if socket == 0 { 0 } else { inode_number(socket) }
}
