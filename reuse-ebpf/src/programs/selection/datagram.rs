//! A datagram in its buffer, and the newest one that waits at a socket.

use super::{flows::mix, sock::Sock};
use crate::{
    CASTS,
    programs::{
        field::{View, is_there, offset, read},
        socket::IPPROTO_UDP,
    },
};

/// The newest datagram in the queue of a socket. A reader may have been faster, and senders on other CPUs may have queued
/// theirs meanwhile (since 6.18 several are queued at once, and the socket is woken for each after that: net/ipv4/udp.c,
/// `__udp_enqueue_schedule_skb`): the right one while not several reach one socket in the same microseconds.
#[inline(always)]
pub(super) fn newest<const TYPED: bool>(sk: Sock<TYPED>) -> Option<u64> {
    // Without a cast: the helper costs less than to verify the load of a pointer on each way that leads here.
    let queue = sk.view().behind(offset!(sk_receive_queue));
    let newest: u64 = queue.at(offset!(queue_prev));
    (!queue.is_at(newest) && newest != 0).then_some(newest)
}

/// How many datagrams a buffer stands for: those that were put together for a socket with UDP_GRO, which is woken once for
/// all of them (net/ipv4/udp_offload.c, `udp_gro_complete_segment`; net/ipv4/udp.c, `udp_send_skb`).
#[inline(always)]
pub(super) fn packets(buffer: u64) -> u64 {
    if !is_there(offset!(skb_end)) {
        return 1;
    }
    let head: u64 = read(buffer + offset!(skb_head) as u64);
    let end: u32 = read(buffer + offset!(skb_end) as u64);
    match read::<u16>(head + u64::from(end) + offset!(shared_gso_segs) as u64) {
        0 => 1,
        packets => u64::from(packets),
    }
}

/// Whether a UDP socket takes several datagrams in one buffer.
#[inline(always)]
pub(super) fn takes_batches<const TYPED: bool>(sk: Sock<TYPED>) -> bool {
    is_there(offset!(udp_gro)) && sk.view().bits(offset!(udp_gro), 1) != 0
}

/// A packet from its IP header on.
pub(super) struct Header {
    at: u64,
    /// Its first four bytes, which say what the rest is
    first: u32,
    /// Where every look costs the same: the header of IPv6 with the ports behind it, or of IPv4
    words: [u32; 11],
    head: u64,
    buffer: u64,
}

impl Header {
    #[inline(always)]
    pub(super) fn of(buffer: u64) -> Self {
        let head: u64 = read(buffer + offset!(skb_head) as u64);
        let network: u16 = read(buffer + offset!(skb_network_header) as u64);
        let at = head + u64::from(network);
        let words: [u32; 11] = if CASTS { [0; 11] } else { read(at) };
        Self { at, first: if CASTS { read(at) } else { words[0] }, words, head, buffer }
    }

    /// Four bytes as they lie in memory.
    #[inline(always)]
    fn word(&self, index: usize) -> u32 {
        if CASTS { View::of(self.at).at(index * size_of::<u32>()) } else { self.words[index] }
    }

    #[inline(always)]
    pub(super) fn is_v6(&self) -> bool {
        self.first as u8 >> 4 == 6
    }

    /// Destination in IPv4, network byte order.
    #[inline(always)]
    pub(super) fn destination_v4(&self) -> u32 {
        self.word(4)
    }

    /// First byte of the destination in IPv6.
    #[inline(always)]
    pub(super) fn destination_v6_first(&self) -> u8 {
        self.word(6) as u8
    }

    /// A number for the source address and port.
    #[inline(always)]
    pub(super) fn source(&self) -> u64 {
        const PLAIN_V4: u8 = 0x45;
        let word = |index| self.word(index);
        let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        if self.is_v6() {
            let next_header = (word(1) >> 16) as u8;
            let ports = if u16::from(next_header) == IPPROTO_UDP { word(10) } else { self.ports() };
            return mix(pair(word(2), word(3))) ^ mix(pair(word(4), word(5)) ^ mix(u64::from(ports as u16)));
        }
        let ports = if self.first as u8 == PLAIN_V4 { word(5) } else { self.ports() };
        pair(word(3), u32::from(ports as u16))
    }

    /// Both ports where options or other headers come before them.
    #[inline(always)]
    fn ports(&self) -> u32 {
        let at: u16 = read(self.buffer + offset!(skb_transport_header) as u64);
        read(self.head + u64::from(at))
    }
}
