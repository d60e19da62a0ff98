//! UDP: the chain that the kernel scanned for a port, in its order.

use reuse_ebpf::{offsets::ABSENT, record::Table};

use super::{
    address::Address,
    hash,
    scratch::{Scratch, Walk, phase},
};
use crate::programs::{
    field::{offset, read},
    socket::Copied,
};

/// Sockets in a port's slot beyond which the kernel looks at the slots of the addresses (net/ipv4/udp.c,
/// `udp_lib_get_port`).
const CROWDED: u32 = 10;

/// Finds the chain that the kernel scans.
///
/// # Safety
/// `scratch` must point to the whole scratch record of this CPU.
#[inline(always)]
pub(super) unsafe fn begin(scratch: *mut Scratch, common: Copied) -> Table {
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
fn table(walk: &Walk, common: Copied) -> u64 {
    let protocol: u64 = common.at(offset!(sk_prot));
    let table: u64 = read(protocol + offset!(prot_udp_table) as u64);
    if table == 0 && offset!(net_udp_table) as u32 != ABSENT {
        return read(walk.net + offset!(net_udp_table) as u64);
    }
    table
}

/// Whether a socket is still in the slot of the port; it leads nowhere else.
#[inline(always)]
pub(super) fn is_in_port_slot(scratch: &Scratch, common: Copied) -> bool {
    // Namespaces share the table, and each mixes its own number into the place of a port.
    let net: u64 = common.at(offset!(sk_net));
    let mix =
        if net == scratch.walk.net { scratch.walk.mix } else { read(net + offset!(net_hash_mix) as u64) };
    let port: u16 = common.at(offset!(sk_num));
    u32::from(port).wrapping_add(mix) & scratch.walk.mask == scratch.walk.slot
}
