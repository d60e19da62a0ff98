//! Which member of a SO_REUSEPORT group got a connection or datagram, counted when its socket is woken (or refuses for
//! a full buffer, which was a selection too).
//!
//! The tracepoint at wake-ups is the best place. Where it does not exist, the functions that wake are entered instead: by
//! a trampoline, or where the kernel has none by a probe. All count the same wake-ups by the same rules. The kernel skips
//! a program that is already running on that CPU, a probe while any probe or plain tracepoint is (kernel/trace/bpf_trace.c,
//! `trace_call_bpf`): a datagram that interrupts another wake-up there may go uncounted.

mod copies;
mod sock;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::{btf_tracepoint, fentry, fexit, kprobe},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext},
};
use reuse_ebpf::count::{Lost, Selection};

use self::{
    copies::{Copy, is_copy, may_get_copies, newest},
    sock::Sock,
};
use super::{
    atomic::add_one,
    emit::count_lost,
    field::{address_of, offset},
    maps::SELECTIONS,
    socket::{AF_INET, AF_INET6, IPPROTO_UDP, TCP_LISTEN},
};

/// `tp_btf/sk_data_ready(const struct sock *sk)`, since 6.3: every wake-up of every socket.
#[btf_tracepoint(function = "sk_data_ready")]
pub(crate) fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    woken(Sock::typed(ctx.arg(0)));
    0
}

/// `fentry/sock_def_readable(struct sock *sk)`: the same wake-ups, where the tracepoint does not exist.
#[fentry(function = "sock_def_readable")]
pub(crate) fn sock_def_readable(ctx: FEntryContext) -> i32 {
    woken(Sock::typed(ctx.arg(0)));
    0
}

/// `fentry/subflow_data_ready(struct sock *sk)`: the wake-ups of MPTCP's subflows, where the tracepoint does not exist.
#[fentry(function = "subflow_data_ready")]
pub(crate) fn subflow_data_ready(ctx: FEntryContext) -> i32 {
    woken(Sock::typed(ctx.arg(0)));
    0
}

/// `kprobe/sock_def_readable(struct sock *sk)`, where the kernel has no trampolines.
#[kprobe]
pub(crate) fn sock_def_readable_probe(ctx: ProbeContext) -> u32 {
    probed(&ctx);
    0
}

/// `kprobe/subflow_data_ready(struct sock *sk)`, where the kernel has no trampolines.
#[kprobe]
pub(crate) fn subflow_data_ready_probe(ctx: ProbeContext) -> u32 {
    probed(&ctx);
    0
}

/// `tp_btf/udp_fail_queue_rcv_skb(int rc, struct sock *sk, struct sk_buff *skb)`, since 6.10: a datagram chose this
/// socket and found its buffer full.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
pub(crate) fn udp_refused(ctx: BtfTracePointContext) -> i32 {
    let sk = Sock::typed(ctx.arg(1));
    if sk.in_group() {
        let datagram: *const u8 = ctx.arg(2);
        count(sk, Copy::Known(is_copy(address_of(datagram), sk.address())));
    }
    0
}

/// `fexit/__udp_enqueue_schedule_skb(struct sock *sk, struct sk_buff *skb)`: the same before, when the tracepoint did not
/// show the datagram, and until 6.5 (8139dccd464a) told of IPv4's alone.
#[fexit(function = "__udp_enqueue_schedule_skb")]
pub(crate) fn udp_queued(ctx: FExitContext) -> i32 {
    let (sk, result) = (Sock::typed(ctx.arg(0)), ctx.arg::<i32>(2));
    if result < 0 && sk.in_group() {
        let datagram: *const u8 = ctx.arg(1);
        count(sk, Copy::Known(is_copy(address_of(datagram), sk.address())));
    }
    0
}

/// The tracepoint before, where the kernel has no trampolines: what was delivered last stands for the datagram.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
pub(crate) fn udp_refused_unseen(ctx: BtfTracePointContext) -> i32 {
    let sk = Sock::typed(ctx.arg(1));
    if sk.in_group() {
        count(sk, Copy::AsLast);
    }
    0
}

#[inline(always)]
fn probed(ctx: &ProbeContext) {
    if let Some(sk) = ctx.arg(0) {
        woken(Sock::address_only(sk));
    }
}

#[inline(always)]
fn woken<const TYPED: bool>(sk: Sock<TYPED>) {
    if !sk.in_group() {
        return;
    }
    let family: u16 = sk.at(offset!(sk_family));
    let protocol: u16 = sk.at(offset!(sk_protocol));
    let state: u8 = sk.at(offset!(sk_state));
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
fn count<const TYPED: bool>(sk: Sock<TYPED>, seen: Copy) {
    // One without a key was closed in this very moment: what it got goes with it.
    let Some(key) = sk.key() else { return };
    let Some(entry) = entry(key, sk) else {
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
fn entry<const TYPED: bool>(key: u64, sk: Sock<TYPED>) -> Option<*mut Selection> {
    if let Some(entry) = SELECTIONS.get_ptr_mut(key) {
        return Some(entry);
    }
    let inode = sk.inode();
    // What was counted before it had a cookie stays where it is; only the hint is needed here too.
    let before = SELECTIONS.get_ptr(Selection::key_of_inode(inode));
    // SAFETY: an element of the map, valid while the program runs.
    let copy = before.map_or(0, |before| unsafe { (&raw const (*before).copy).read_volatile() });
    let new = Selection { selected: 0, inode, sock: sk.address(), copy, reserved: 0 };
    // Losing the race against another CPU is fine: the look-up below finds its entry.
    let _ = SELECTIONS.insert(key, new, u64::from(BPF_NOEXIST));
    SELECTIONS.get_ptr_mut(key)
}
