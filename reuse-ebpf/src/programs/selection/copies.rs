//! Telling a multicast or broadcast copy, which every member gets, from a datagram that one member was selected for.

use super::{datagram::Header, sock::Sock};
use crate::programs::{
    field::{View, offset, read},
    socket::AF_INET,
};

/// Whether multicast or broadcast can reach the socket at all. One bound to a unicast address gets only datagrams to
/// it (net/ipv4/udp.c, `__udp_is_mcast_sock`), so that the buffer needs no look.
#[inline(always)]
pub(super) fn may_get_copies<const TYPED: bool>(sk: Sock<TYPED>, family: u16) -> bool {
    let v4 = if family == AF_INET {
        sk.at::<u32>(offset!(sk_rcv_saddr))
    } else {
        let address = offset!(sk_v6_rcv_saddr);
        let (high, low) = (sk.at::<u64>(address), sk.at::<u64>(address + 8));
        if high != 0 || low as u32 != 0xffff_0000 {
            return high | low == 0 || high as u8 == 0xff;
        }
        (low >> 32) as u32
    };
    v4 == 0 || is_multicast_v4(v4) || may_be_broadcast(v4)
}

/// Whether a datagram is a copy: its packet type says so, or its destination.
#[inline(always)]
pub(super) fn is_copy<const TYPED: bool>(datagram: u64, header: &Header, sk: Sock<TYPED>) -> bool {
    const PACKET_HOST: u8 = 0;
    if View::of(datagram).bits(offset!(skb_pkt_type), 3) != PACKET_HOST {
        return true;
    }
    if header.is_v6() {
        return header.destination_v6_first() == 0xff;
    }
    let destination = header.destination_v4();
    is_multicast_v4(destination)
        || destination == u32::MAX
        || (may_be_broadcast(destination) && is_loopback_broadcast(sk.view(), destination))
}

/// 224.0.0.0/4, network byte order
#[inline(always)]
fn is_multicast_v4(address: u32) -> bool {
    address as u8 & 0xf0 == 0xe0
}

/// The last two bits of every network's broadcast address are set.
#[inline(always)]
fn may_be_broadcast(address: u32) -> bool {
    (address >> 24) as u8 & 3 == 3
}

/// Datagrams to the loopback network's broadcast address come in as `PACKET_HOST`; only its address list tells
/// (net/ipv4/fib_frontend.c, `fib_add_ifaddr`). Those of other devices come in as broadcast or looped back.
#[inline(always)]
fn is_loopback_broadcast(sk: View, destination: u32) -> bool {
    const MOST_ADDRESSES: usize = 8;
    let net: u64 = sk.at(offset!(sk_net));
    let loopback: u64 = read(net + offset!(net_loopback) as u64);
    let ip: u64 = read(loopback + offset!(device_ip) as u64);
    let mut address: u64 = read(ip + offset!(in_device_list) as u64);
    for _ in 0..MOST_ADDRESSES {
        if address == 0 {
            return false;
        }
        let network: u32 = read(address + offset!(ifa_address) as u64);
        let mask: u32 = read(address + offset!(ifa_mask) as u64);
        if mask != u32::MAX && destination == network | !mask {
            return true;
        }
        address = read(address + offset!(ifa_next) as u64);
    }
    false
}
