//! Changes of TCP sockets' states that tell what no call does: a `connect` that found no port, a `listen` of a way that no
//! other program sees.
//!
//! `tp_btf/inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)` runs four or five times for
//! each connection, in the course of the call that causes the change or of a packet.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use reuse_ebpf::record::{Kind, SOCKADDR, Way};

use super::{
    arch::{COMPAT_LISTEN, LISTEN},
    call::{Call, Caller, is_own},
    evidence::Asked,
    field::{address_of, load, offset, read, read_if_there},
    selection::note_close,
    socket::{AF_INET, Copied, IPPROTO_TCP, Socket, TCP_CLOSE, TCP_LISTEN, TCP_SYN_SENT},
    subflow::user_socket,
    task::Task,
    way::{self, is_io_worker, is_listen_told},
};

const EADDRINUSE: i64 = -98;
const EADDRNOTAVAIL: i64 = -99;

/// `tp_btf/inet_sock_set_state`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    match (old as u8, new as u8) {
        (TCP_SYN_SENT, TCP_CLOSE) => connect_ended(ctx.arg(0)),
        (TCP_CLOSE, TCP_LISTEN) | (TCP_LISTEN, TCP_CLOSE) => {
            let ended = new as u8 == TCP_CLOSE;
            if ended {
                note_close(address_of::<u8>(ctx.arg(0)));
            }
            listening(ctx.arg(0), ended);
        }
        _ => {}
    }
    0
}

/// A `connect` that is given up without an error of the socket, without being shut down and before anything was sent had no
/// port, or its pair of addresses was taken (net/ipv4/tcp_ipv4.c, `tcp_v4_connect`; net/ipv6/tcp_ipv6.c). Once a segment
/// is sent, the timer for its repetition runs.
#[inline(always)]
fn connect_ended(sk: *const u8) {
    const SHUTDOWN_MASK: u8 = 3;
    // SAFETY: `sk` is the tracepoint's typed argument; the members are its BTF members.
    unsafe {
        if load::<u16>(sk, offset!(sk_protocol)) != IPPROTO_TCP
            || load::<i32>(sk, offset!(sk_err)) != 0
            || load::<u8>(sk, offset!(sk_shutdown)) & SHUTDOWN_MASK != 0
        {
            return;
        }
    }
    let sk = address_of(sk);
    let task = Task::current_address();
    if read::<u8>(sk + offset!(csk_pending) as u64) != 0 || is_own(task) {
        return;
    }
    let call = Call { kind: Kind::Connect, way: Way::Implicit, result: EADDRNOTAVAIL, fd: -1, length: 0 };
    call.tell(Caller::of(task, is_io_worker(task)), of_user(sk), |record| {
        // SAFETY: a filled record of a socket.
        unsafe {
            let common = Copied::of(&raw const (*record).socket);
            (*record).requested_len = copy_peer(&raw mut (*record).requested, common);
            // With a sequence number it had come further, and there was no route or no memory; unless it has that from
            // an earlier connection.
            (*record).doubtful = (read::<u32>(sk + offset!(tcp_write_seq) as u64) != 0) as u8;
        }
    });
}

/// A socket that is about to listen, or was refused it. A listener that closes within a `listen` was refused
/// (net/ipv4/inet_connection_sock.c, `inet_csk_listen_start`); all others close in a `close`, `shutdown` or `connect`. Both
/// are told with the port as it is then.
#[inline(always)]
fn listening(sk: *const u8, ended: bool) {
    let Some((sk, task, way)) = told_listen(sk) else { return };
    if ended && !is_in_listen(task, way) {
        return;
    }
    let (kind, result) = if ended { (Kind::Listen, EADDRINUSE) } else { (Kind::ListenAttempt, 0) };
    let call = Call { kind, way, result, fd: -1, length: 0 };
    call.tell_with_evidence(of_user(sk), Asked::Request, |record| {
        // SAFETY: a filled record.
        unsafe {
            // Set before the change (net/ipv4/af_inet.c, `__inet_listen_sk`).
            (*record).queue_limit = read_if_there(sk, offset!(sk_max_ack_backlog));
        }
    });
}

/// The socket as an address, with who changes its state by which way, if that is to be told.
#[inline(always)]
fn told_listen(sk: *const u8) -> Option<(u64, Task<false>, Way)> {
    // SAFETY: as in `connect_ended`.
    if unsafe { load::<u16>(sk, offset!(sk_protocol)) } != IPPROTO_TCP {
        return None;
    }
    let (sk, task) = (address_of(sk), Task::current_address());
    let way = way::of(task, LISTEN, || sk);
    (is_listen_told(way) && !is_own(task)).then_some((sk, task, way))
}

/// The socket that the user has.
#[inline(always)]
fn of_user(sk: u64) -> Socket {
    let sk = user_socket(sk);
    Socket { socket: read(sk + offset!(sk_socket) as u64), sk }
}

/// What io_uring refuses its completion tells; the kernel's own listeners end by a shutdown.
#[inline(always)]
fn is_in_listen(task: Task<false>, way: Way) -> bool {
    match way {
        Way::Syscall => true,
        Way::Compat => task.system_call().is_some_and(|(number, _)| COMPAT_LISTEN.contains(&number)),
        Way::IoUring | Way::Kernel | Way::Implicit => false,
    }
}

/// Writes the peer's address as a socket address.
///
/// # Safety
/// `to` must be valid for writes.
#[inline(always)]
unsafe fn copy_peer(to: *mut [u8; SOCKADDR], common: Copied) -> u32 {
    const SOCKADDR_IN: u32 = 16;
    let family: u16 = common.at(offset!(sk_family));
    // SAFETY: `to` has SOCKADDR bytes, which hold either form.
    unsafe {
        let at = to.cast::<u8>();
        at.cast::<u16>().write(family);
        at.add(2).cast::<u16>().write(common.at(offset!(sk_dport)));
        if family == AF_INET {
            at.add(4).cast::<u32>().write(common.at(offset!(sk_daddr)));
            at.add(8).cast::<u64>().write(0);
            return SOCKADDR_IN;
        }
        at.add(4).cast::<u32>().write(0);
        at.add(8).cast::<[u64; 2]>().write(common.address(offset!(sk_v6_daddr)));
        at.add(24).cast::<u32>().write(0);
    }
    SOCKADDR as u32
}
