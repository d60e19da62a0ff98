//! Which member of a SO_REUSEPORT group got a connection or datagram, counted when its socket is woken (or refuses for
//! a full buffer, which was a selection too).
//!
//! The tracepoint at wake-ups is the best place. Where it does not exist, the functions that wake are entered instead: by
//! a trampoline, or where the kernel has none by a probe. All count the same wake-ups by the same rules. The kernel skips
//! a program that is already running on that CPU, a probe while any probe or plain tracepoint is (kernel/trace/bpf_trace.c,
//! `trace_call_bpf`): a datagram that interrupts another wake-up there may go uncounted.

mod copies;
mod counter;
mod datagram;
mod flows;
mod migrated;
mod sock;
mod watched;

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kprobe},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext},
};
use reuse_ebpf::count::Lost;

pub(crate) use self::migrated::note_close;
use self::{
    copies::{is_copy, may_get_copies},
    counter::Counter,
    datagram::{Header, newest, packets, takes_batches},
    migrated::is_handed_on,
    sock::Sock,
    watched::is_watched,
};
use super::{
    emit::count_lost,
    field::{address_of, is_there, offset},
    passing::tell_files,
    socket::{AF_INET, AF_INET6, AF_UNIX, IPPROTO_UDP, TCP_ESTABLISHED, TCP_LISTEN},
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
    if sk.in_group() || is_watched(sk) {
        refused(sk, ctx.arg(2));
    }
    0
}

/// `fexit/__udp_enqueue_schedule_skb(struct sock *sk, struct sk_buff *skb)`: the same before, when the tracepoint did not
/// show the datagram, and until 6.5 (8139dccd464a) told of IPv4's alone.
#[fexit(function = "__udp_enqueue_schedule_skb")]
pub(crate) fn udp_queued(ctx: FExitContext) -> i32 {
    let (sk, result) = (Sock::typed(ctx.arg(0)), ctx.arg::<i32>(2));
    if result < 0 && (sk.in_group() || is_watched(sk)) {
        refused(sk, ctx.arg(1));
    }
    0
}

/// The tracepoint before, where the kernel has no trampolines: what was delivered last stands for the datagram.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
pub(crate) fn udp_refused_unseen(ctx: BtfTracePointContext) -> i32 {
    let sk = Sock::typed(ctx.arg(1));
    if (sk.in_group() || is_watched(sk))
        && let Some(counter) = Counter::of(sk, true).filter(|counter| !counter.last_was_copy())
    {
        counter.add(1);
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
    let family: u16 = sk.at(offset!(sk_family));
    if !sk.in_group() && (passes_files(sk, family) || !is_watched(sk)) {
        return;
    }
    let protocol: u16 = sk.at(offset!(sk_protocol));
    let state: u8 = sk.at(offset!(sk_state));
    if family != AF_INET && family != AF_INET6 {
        return;
    }
    if protocol == IPPROTO_UDP {
        queued(sk, family, state);
    } else if state == TCP_LISTEN
        && !is_handed_on(sk)
        && let Some(counter) = Counter::of(sk, false)
    {
        counter.add(1);
    }
}

/// Whether it is a socket of AF_UNIX, which are in no group; what files were sent to it is told.
#[inline(always)]
fn passes_files<const TYPED: bool>(sk: Sock<TYPED>, family: u16) -> bool {
    if family != AF_UNIX {
        return false;
    }
    if is_there(offset!(message_files)) {
        let files = sk.newest_files();
        if files != 0 {
            tell_files(files);
        }
    }
    true
}

/// A datagram that was queued. A look at it costs as much as all the rest: it is had only where it may be a copy, where it
/// may stand for several, and within a budget for its flow. What a connected member gets was not selected by its flow.
#[inline(always)]
fn queued<const TYPED: bool>(sk: Sock<TYPED>, family: u16, state: u8) {
    let Some(counter) = Counter::of(sk, true) else { return };
    let may_be_copy = may_get_copies(sk, family);
    let has_flow = state != TCP_ESTABLISHED && flows::are_told() && flows::affords_look();
    if !may_be_copy && !has_flow && !counter.batches() {
        return counter.add(1);
    }
    let Some(datagram) = newest(sk) else {
        // A reader was faster. Nobody can tell what it was: as the one before.
        if counter.batches() {
            count_lost(Lost::Batch);
        }
        if !counter.last_was_copy() {
            counter.add(1);
        }
        return;
    };
    let header = Header::of(datagram);
    // Also where it cannot be one: to go two ways here would double what the verifier has to check.
    if counter.is_copy(is_copy(datagram, &header, sk)) {
        return;
    }
    if has_flow {
        counter.set_batches(takes_batches(sk));
        counter.note_flow(&header);
    }
    counter.add(if counter.batches() { packets(datagram) } else { 1 });
}

/// A datagram that found the buffer full. One that stands for several is one, as in the socket's drops.
#[inline(always)]
fn refused<const TYPED: bool>(sk: Sock<TYPED>, datagram: *const u8) {
    let Some(counter) = Counter::of(sk, true) else { return };
    let datagram = address_of(datagram);
    let header = Header::of(datagram);
    if counter.is_copy(is_copy(datagram, &header, sk)) {
        return;
    }
    let state: u8 = sk.at(offset!(sk_state));
    if state != TCP_ESTABLISHED && flows::are_told() && flows::affords_look() {
        counter.note_flow(&header);
    }
    counter.add(1);
}
