//! UDP: the chain that the kernel scanned for a port, in its order.

use reuse_ebpf::{offsets::ABSENT, record::Table};

use super::{
    address::Address,
    hash,
    occupant::{add, devices_meet, may_overlap, take_room},
    scratch::{Scratch, Walk, phase},
    walk::{CONTINUE, STOP},
};
use crate::programs::{
    field::{offset, read},
    socket::Common,
};

/// Sockets in a port's slot beyond which the kernel looks at the slots of the addresses (net/ipv4/udp.c,
/// `udp_lib_get_port`).
const CROWDED: u32 = 10;

/// Finds the chain that the kernel scans.
///
/// # Safety
/// `scratch` must point to the whole scratch record of this CPU.
#[inline(always)]
pub(super) unsafe fn begin(scratch: *mut Scratch, common: &Common) -> Table {
    // SAFETY: promised by the caller.
    let walk = unsafe { super::walk_of(scratch) };
    let table = table(walk, common);
    let mask: u32 = read(table + offset!(udp_mask) as u64);
    walk.mask = mask;
    walk.slot = u32::from(walk.port).wrapping_add(walk.mix) & mask;
    let slots: u64 = read(table + offset!(udp_hash) as u64);
    let slot = slots + u64::from(walk.slot) * offset!(udp_slot_size) as u64;
    let count: u32 = read(slot + offset!(udp_slot_count) as u64);
    // SAFETY: promised by the caller.
    unsafe { (*scratch).evidence.slot = count };
    walk.node = read(slot);
    walk.phase = phase::UDP_PORT;
    if count <= CROWDED || walk.address.is_wildcard() {
        return Table::UdpPort;
    }
    let slots: u64 = read(table + offset!(udp_hash2) as u64);
    let at = |number: u32| slots + u64::from(number) * offset!(udp_slot2_size) as u64;
    let exact = hash::portaddr(walk.address, walk.mix, walk.port) & mask;
    let wildcard = hash::portaddr(Address(0, 0), walk.mix, walk.port) & mask;
    let in_exact: u32 = read(at(exact) + offset!(udp_slot_count) as u64);
    if count < in_exact {
        return Table::UdpPort;
    }
    walk.slot = exact;
    walk.node = read(at(exact));
    walk.then = if wildcard == exact { 0 } else { at(wildcard) };
    walk.phase = phase::UDP_ADDRESS;
    // One slot is one list, in which the first overlapping socket decides.
    if walk.then == 0 { Table::UdpPort } else { Table::UdpAddress }
}

/// include/net/udp.h, `udp_get_table_prot`; 6.1 has one table for all namespaces, which the protocol names.
#[inline(always)]
fn table(walk: &Walk, common: &Common) -> u64 {
    let protocol: u64 = common.at(offset!(sk_prot));
    let table: u64 = read(protocol + offset!(prot_udp_table) as u64);
    if table == 0 && offset!(net_udp_table) as u32 != ABSENT {
        return read(walk.net + offset!(net_udp_table) as u64);
    }
    table
}

/// One socket in the slot of the port.
#[inline(always)]
pub(super) fn in_port_slot(scratch: &mut Scratch) -> i64 {
    let node = scratch.walk.node;
    if node == 0 {
        return STOP;
    }
    let sk = node - offset!(sk_node) as u64;
    let common: Common = read(sk);
    scratch.walk.node = common.at(offset!(sk_node));
    let port: u16 = common.at(offset!(sk_num));
    // Namespaces share the table, and each mixes its own number into the place of a port.
    let net: u64 = common.at(offset!(sk_net));
    let mix =
        if net == scratch.walk.net { scratch.walk.mix } else { read(net + offset!(net_hash_mix) as u64) };
    if u32::from(port).wrapping_add(mix) & scratch.walk.mask != scratch.walk.slot {
        scratch.evidence.disturbed = 1;
        return STOP;
    }
    consider(scratch, sk, &common, port)
}

/// One socket in the slot of an address.
#[inline(always)]
pub(super) fn in_address_slot(scratch: &mut Scratch) -> i64 {
    let node = scratch.walk.node;
    if node == 0 {
        let then = scratch.walk.then;
        if then == 0 {
            return STOP;
        }
        scratch.walk.then = 0;
        scratch.walk.node = read(then);
        return CONTINUE;
    }
    let sk = node - offset!(sk_portaddr_node) as u64;
    let common: Common = read(sk);
    scratch.walk.node = common.at(offset!(sk_portaddr_node));
    let port = common.at(offset!(sk_num));
    if port == 0 {
        scratch.evidence.disturbed = 1;
        return STOP;
    }
    consider(scratch, sk, &common, port)
}

#[inline(always)]
fn consider(scratch: &mut Scratch, sk: u64, common: &Common, port: u16) -> i64 {
    if port != scratch.walk.port
        || common.at::<u64>(offset!(sk_net)) != scratch.walk.net
        || sk == scratch.walk.asking
        || !devices_meet(&scratch.walk, common)
    {
        return CONTINUE;
    }
    let address = Address::of(common);
    if !may_overlap(&scratch.walk, address, common.at(offset!(sk_rcv_saddr))) {
        return CONTINUE;
    }
    if !take_room(scratch, false) {
        return STOP;
    }
    add(scratch, sk, common, address);
    CONTINUE
}
