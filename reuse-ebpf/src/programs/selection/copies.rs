//! Telling a multicast or broadcast copy, which every member gets, from a datagram that one member was selected for.

use super::sock::Sock;
use crate::programs::{
    field::{offset, read, read_bits},
    socket::AF_INET,
};

/// Whether a datagram was a copy: no selection.
#[derive(Clone, Copy)]
pub(super) enum Copy {
    /// It was, or not
    Known(bool),
    /// Nobody can tell: what the socket got last was, or not
    AsLast,
}

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

/// What the newest datagram in the queue is. A reader may have been faster, and senders on other CPUs may have queued
/// theirs meanwhile: exact while copies and selections do not reach one socket in the same microseconds.
#[inline(always)]
pub(super) fn newest<const TYPED: bool>(sk: Sock<TYPED>) -> Copy {
    let queue = offset!(sk_receive_queue);
    let newest: u64 = sk.at(queue + offset!(queue_prev));
    let address = sk.address();
    if newest == address + queue as u64 || newest == 0 {
        return Copy::AsLast;
    }
    Copy::Known(is_copy(newest, address))
}

/// Whether a datagram is a copy: its packet type says so, or its destination.
#[inline(always)]
pub(super) fn is_copy(datagram: u64, sk: u64) -> bool {
    const PACKET_HOST: u8 = 0;
    if read_bits(datagram, offset!(skb_pkt_type), 3) != PACKET_HOST {
        return true;
    }
    let head: u64 = read(datagram + offset!(skb_head) as u64);
    let at: u16 = read(datagram + offset!(skb_network_header) as u64);
    let header: [u32; 10] = read(head + u64::from(at));
    if header[0] as u8 >> 4 == 6 {
        return header[6] as u8 == 0xff;
    }
    let destination = header[4];
    is_multicast_v4(destination)
        || destination == u32::MAX
        || (may_be_broadcast(destination) && is_loopback_broadcast(sk, destination))
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
fn is_loopback_broadcast(sk: u64, destination: u32) -> bool {
    const MOST_ADDRESSES: usize = 8;
    let net: u64 = read(sk + offset!(sk_net) as u64);
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
