//! TCP: the port's bucket, its listeners, its other owners.

use reuse_ebpf::{offsets::ABSENT, record::Table};

use super::{
    address::Address,
    hash,
    occupant::may_overlap,
    scratch::{Scratch, Walk, phase},
    walk::{CONTINUE, STOP},
};
use crate::programs::{
    field::{View, offset, read},
    socket::{Copied, TCP_LISTEN},
};

/// Finds the chain of the port in the table of ports.
///
/// # Safety
/// `scratch` must point to the whole scratch record of this CPU.
#[inline(always)]
pub(super) unsafe fn begin(scratch: *mut Scratch) -> Table {
    // SAFETY: promised by the caller.
    let walk = unsafe { super::walk_of(scratch) };
    let info: u64 = if offset!(net_hashinfo) as u32 != ABSENT {
        read(walk.net + offset!(net_hashinfo) as u64)
    } else {
        let row: u64 = read(walk.net + offset!(net_death_row) as u64);
        read(row + offset!(death_row_hashinfo) as u64)
    };
    let info = View::of(info);
    let table: u64 = info.at(offset!(hashinfo_bhash));
    let size: u32 = info.at(offset!(hashinfo_bhash_size));
    // include/net/inet_hashtables.h, `inet_bhashfn`
    let slot = u32::from(walk.port).wrapping_add(walk.mix) & size.wrapping_sub(1);
    let slot = table + u64::from(slot) * offset!(bhash_slot_size) as u64;
    walk.node = read(slot + offset!(bhash_slot_chain) as u64);
    walk.table = info.at(offset!(hashinfo_lhash2));
    walk.mask = info.at(offset!(hashinfo_lhash2_mask));
    walk.phase = phase::BUCKET;
    Table::TcpEmpty
}

/// One bucket of the chain: the port's, or the next one.
#[inline(always)]
pub(super) fn bucket(scratch: &mut Scratch) -> i64 {
    let node = scratch.walk.node;
    if node == 0 {
        return STOP;
    }
    let bucket = View::of(node - offset!(bucket_node) as u64);
    let (net, port, master): (u64, u16, u32) =
        (bucket.at(offset!(bucket_net)), bucket.at(offset!(bucket_port)), bucket.at(offset!(bucket_l3mdev)));
    // A bucket of another L3 domain (VRF) is not asked; a socket without a device is in none.
    if net != scratch.walk.net || port != scratch.walk.port || (master != 0 && scratch.walk.device == 0) {
        scratch.walk.node = read(node);
        return CONTINUE;
    }
    let evidence = &mut scratch.evidence;
    evidence.table = Table::Tcp as u8;
    evidence.fastreuse = bucket.at(offset!(bucket_fastreuse));
    evidence.fastreuseport = bucket.at(offset!(bucket_fastreuseport));
    evidence.fastuid = bucket.at(offset!(bucket_fastuid));
    evidence.fast_v6only = bucket.at(offset!(bucket_fast_v6only));
    evidence.fast_family = bucket.at(offset!(bucket_fast_family));
    // SAFETY: each as long as what is written there, and aligned in the record as words are.
    unsafe {
        (&raw mut evidence.fast_rcv_saddr).cast::<u32>().write(bucket.at(offset!(bucket_fast_rcv_saddr)));
        let address = (&raw mut evidence.fast_v6_rcv_saddr).cast::<[u32; 4]>();
        address.write(bucket.at(offset!(bucket_fast_v6_rcv_saddr)));
    }
    let walk = &mut scratch.walk;
    if offset!(bucket_addresses) as u32 != ABSENT {
        walk.first = bucket.at(offset!(bucket_addresses));
        walk.entry = walk.first;
    } else {
        walk.first = bucket.at(offset!(bucket_owners));
    }
    walk.phase = phase::LISTENERS_OF;
    CONTINUE
}

/// The next address whose listeners are looked up in their table.
#[inline(always)]
pub(super) fn listeners_of(walk: &mut Walk) -> i64 {
    if offset!(bucket_addresses) as u32 == ABSENT {
        return listeners_of_candidate(walk);
    }
    let entry = walk.entry;
    if entry == 0 {
        walk.entry = walk.first;
        walk.phase = phase::OWNERS_OF;
        return CONTINUE;
    }
    walk.entry = read(entry);
    if let Some((_, address)) = overlapping_owners(walk, entry) {
        walk.current = address;
        enter_listeners(walk);
    }
    CONTINUE
}

/// Where a bucket does not list its addresses, the addresses a listener in the way most likely has: what was asked for,
/// and the two wildcards. Others are found among the owners.
#[inline(always)]
fn listeners_of_candidate(walk: &mut Walk) -> i64 {
    walk.candidate += 1;
    walk.current = match walk.candidate {
        1 => walk.address,
        2 => Address::from_v4(0),
        3 => Address(0, 0),
        _ => {
            walk.node = walk.first;
            walk.phase = phase::OWNER;
            return if walk.node == 0 { STOP } else { CONTINUE };
        }
    };
    if walk.candidate == 1 || walk.current != walk.address {
        enter_listeners(walk);
    }
    CONTINUE
}

/// net/ipv4/inet_hashtables.c, `inet_lhash2_bucket_sk`
#[inline(always)]
fn enter_listeners(walk: &mut Walk) {
    let slot = hash::portaddr(walk.current, walk.mix, walk.port) & walk.mask;
    let at = walk.table + u64::from(slot) * offset!(lhash2_slot_size) as u64;
    let node: u64 = read(at + offset!(lhash2_slot_head) as u64);
    if node & 1 == 0 {
        walk.slot = slot;
        walk.node = node;
        walk.phase = phase::LISTENER;
    }
}

/// A socket in the chain of listeners of the current address; whether it may be in the way, if it is on the port.
#[inline(always)]
pub(super) fn listener(scratch: &mut Scratch, next: u64, address: Address) -> bool {
    if next & 1 != 0 {
        // The end of a chain bears its slot's number: a socket that moved leads to another chain's end.
        if (next >> 1) as u32 & scratch.walk.mask != scratch.walk.slot {
            scratch.evidence.disturbed = 1;
        }
        scratch.walk.phase = phase::LISTENERS_OF;
    }
    address == scratch.walk.current
}

/// The next address whose owners are walked.
#[inline(always)]
pub(super) fn owners_of(walk: &mut Walk) -> i64 {
    let entry = walk.entry;
    if entry == 0 {
        return STOP;
    }
    walk.entry = read(entry);
    if let Some((first, address)) = overlapping_owners(walk, entry) {
        walk.current = address;
        walk.node = first;
        walk.phase = phase::OWNER;
    }
    CONTINUE
}

/// The first owner of an address of the bucket and that address, if it may be in the way.
#[inline(always)]
fn overlapping_owners(walk: &mut Walk, entry: u64) -> Option<(u64, Address)> {
    let first: u64 = read(entry - offset!(address_node) as u64 + offset!(address_owners) as u64);
    if first == 0 {
        return None;
    }
    // SAFETY: a member of the walk.
    let common = unsafe { Copied::read(&raw mut walk.common, first - offset!(sk_bind_node) as u64) };
    let address = Address::of(common);
    may_overlap(walk, address, common.at(offset!(sk_rcv_saddr))).then_some((first, address))
}

/// An owner; whether it may be in the way and does not listen, which were looked at before.
#[inline(always)]
pub(super) fn owner(scratch: &mut Scratch, next: u64, common: Copied, address: Address) -> bool {
    let by_address = offset!(bucket_addresses) as u32 != ABSENT;
    let end = if by_address { phase::OWNERS_OF } else { phase::END };
    if common.at::<u16>(offset!(sk_num)) != scratch.walk.port {
        // It left the port while it was looked at, and its link leads nowhere.
        scratch.evidence.disturbed = 1;
        scratch.walk.phase = end;
        return false;
    }
    if next == 0 {
        scratch.walk.phase = end;
    }
    let known = common.at::<u8>(offset!(sk_state)) == TCP_LISTEN
        && (by_address || address == scratch.walk.address || address.is_wildcard());
    !known && (by_address || may_overlap(&scratch.walk, address, common.at(offset!(sk_rcv_saddr))))
}
