//! Which member of a SO_REUSEPORT group got a connection or datagram, counted when its socket is woken (or refuses for
//! a full buffer, which was a selection too).

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::bpf_get_socket_cookie,
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use reuse_ebpf::count::{Lost, Selection};

use super::{
    atomic::add_one,
    emit::count_lost,
    field::{address_of, load, offset, read, read_bits},
    maps::SELECTIONS,
    socket::{AF_INET, AF_INET6, IPPROTO_UDP, TCP_LISTEN, inode_number},
};

/// `tp_btf/sk_data_ready(const struct sock *sk)`, since 6.3: every wake-up of every socket.
#[btf_tracepoint(function = "sk_data_ready")]
pub(crate) fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    woken(ctx.arg(0));
    0
}

/// `fentry/sock_def_readable(struct sock *sk)`: the same wake-ups, where the tracepoint does not exist.
#[fentry(function = "sock_def_readable")]
pub(crate) fn sock_def_readable(ctx: FEntryContext) -> i32 {
    woken(ctx.arg(0));
    0
}

/// `fentry/subflow_data_ready(struct sock *sk)`: the wake-ups of MPTCP's subflows, where the tracepoint does not exist.
#[fentry(function = "subflow_data_ready")]
pub(crate) fn subflow_data_ready(ctx: FEntryContext) -> i32 {
    woken(ctx.arg(0));
    0
}

/// `tp_btf/udp_fail_queue_rcv_skb(int rc, struct sock *sk, struct sk_buff *skb)`, since 6.10: a datagram chose this
/// socket and found its buffer full.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
pub(crate) fn udp_refused(ctx: BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(1);
    if in_group(sk) {
        let datagram: *const u8 = ctx.arg(2);
        count(sk, Copy::Known(is_copy(address_of(datagram), address_of(sk))));
    }
    0
}

/// The same before, when the tracepoint did not show the datagram: what was delivered last stands for it.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
pub(crate) fn udp_refused_unseen(ctx: BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(1);
    if in_group(sk) {
        count(sk, Copy::AsLast);
    }
    0
}

/// Whether a datagram was a multicast or broadcast copy, which every member gets: no selection.
#[derive(Clone, Copy)]
enum Copy {
    /// It was, or not
    Known(bool),
    /// Nobody can tell: what the socket got last was, or not
    AsLast,
}

/// Whether the socket is in a SO_REUSEPORT group. The option does not tell: accepted children inherit it, and clearing it
/// takes no member out.
#[inline(always)]
fn in_group(sk: *const u8) -> bool {
    // SAFETY: `sk` is a typed argument; the member is its BTF member.
    unsafe { load::<u64>(sk, offset!(sk_reuseport_cb)) != 0 }
}

#[inline(always)]
fn woken(sk: *const u8) {
    if !in_group(sk) {
        return;
    }
    // SAFETY: as in `in_group`.
    let (family, protocol, state) = unsafe {
        (
            load::<u16>(sk, offset!(sk_family)),
            load::<u16>(sk, offset!(sk_protocol)),
            load::<u8>(sk, offset!(sk_state)),
        )
    };
    if family != AF_INET && family != AF_INET6 {
        return;
    }
    if protocol == IPPROTO_UDP {
        count(sk, if may_get_copies(sk, family) { newest(sk) } else { Copy::Known(false) });
    } else if state == TCP_LISTEN {
        count(sk, Copy::Known(false));
    }
}

/// One more for this socket, unless it was a copy.
#[inline(always)]
fn count(sk: *const u8, seen: Copy) {
    // SAFETY: `sk` is a typed pointer to a socket; the helper makes a cookie where there is none yet.
    let cookie = unsafe {
        match load::<u64>(sk, offset!(sk_cookie)) {
            0 => bpf_get_socket_cookie(sk.cast_mut().cast()),
            cookie => cookie,
        }
    };
    let Some(entry) = entry(cookie, sk) else {
        count_lost(Lost::SelectionMap);
        return;
    };
    // SAFETY: an element of the map, valid while the program runs; the counter is shared between CPUs and atomic, the
    // flag a plain hint.
    unsafe {
        let copy = match seen {
            Copy::Known(copy) => {
                (&raw mut (*entry).copy).write_volatile(u32::from(copy));
                copy
            }
            Copy::AsLast => (&raw const (*entry).copy).read_volatile() != 0,
        };
        if !copy {
            add_one(&raw mut (*entry).selected);
        }
    }
}

#[inline(always)]
fn entry(cookie: u64, sk: *const u8) -> Option<*mut Selection> {
    if let Some(entry) = SELECTIONS.get_ptr_mut(cookie) {
        return Some(entry);
    }
    // SAFETY: as in `in_group`.
    let socket: u64 = unsafe { load(sk, offset!(sk_socket)) };
    let inode = if socket == 0 { 0 } else { inode_number(socket) };
    let new = Selection { selected: 0, inode, sock: address_of(sk), copy: 0, reserved: 0 };
    // Losing the race against another CPU is fine: the look-up below finds its entry.
    let _ = SELECTIONS.insert(cookie, new, u64::from(BPF_NOEXIST));
    SELECTIONS.get_ptr_mut(cookie)
}

/// Whether multicast or broadcast can reach the socket at all. One bound to a unicast address gets only datagrams to
/// it (net/ipv4/udp.c, `__udp_is_mcast_sock`), so that the buffer needs no look.
#[inline(always)]
fn may_get_copies(sk: *const u8, family: u16) -> bool {
    // SAFETY: as in `in_group`.
    unsafe {
        let v4 = if family == AF_INET {
            load::<u32>(sk, offset!(sk_rcv_saddr))
        } else {
            let address = offset!(sk_v6_rcv_saddr);
            let (high, low) = (load::<u64>(sk, address), load::<u64>(sk, address + 8));
            if high != 0 || low as u32 != 0xffff_0000 {
                return high | low == 0 || high as u8 == 0xff;
            }
            (low >> 32) as u32
        };
        v4 == 0 || is_multicast_v4(v4) || may_be_broadcast(v4)
    }
}

/// What the newest datagram in the queue is. A reader may have been faster, and senders on other CPUs may have queued
/// theirs meanwhile: exact while copies and selections do not reach one socket in the same microseconds.
#[inline(always)]
fn newest(sk: *const u8) -> Copy {
    let queue = offset!(sk_receive_queue);
    // SAFETY: as in `in_group`.
    let newest: u64 = unsafe { load(sk, queue + offset!(queue_prev)) };
    let sock = address_of(sk);
    if newest == sock + queue as u64 || newest == 0 {
        return Copy::AsLast;
    }
    Copy::Known(is_copy(newest, sock))
}

/// Whether a datagram is a copy: its packet type says so, or its destination.
#[inline(always)]
fn is_copy(datagram: u64, sock: u64) -> bool {
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
        || (may_be_broadcast(destination) && is_loopback_broadcast(sock, destination))
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
