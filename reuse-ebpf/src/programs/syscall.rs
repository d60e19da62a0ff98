//! `bind` and `listen` at the return of their system calls: one program for both, no entry program, since the arguments are
//! still in the saved registers. And, where it is asked for, the calls that bind an unbound datagram socket on the way.

use aya_ebpf::{EbpfContext, macros::tracepoint, programs::TracePointContext};
use aya_log_ebpf::debug;
use reuse_ebpf::record::{CallRecord, Kind, Way};

use super::{
    arch::{EXIT_RESULT, FIRST, LISTEN, NUMBER, SECOND, THIRD, USUAL_EXIT_RESULT},
    call::{Call, Caller, copy_requested, is_own},
    evidence::Asked,
    field::{constant, offset, read},
    registers::Registers,
    socket::{IPPROTO_MPTCP, IPPROTO_UDP, Socket, of_descriptor},
    task::Task,
    way::is_io_worker,
};

const EADDRINUSE: i64 = -98;
const EAGAIN: i64 = -11;

/// `syscalls:sys_exit_bind`, `syscalls:sys_exit_listen`
#[tracepoint]
pub(crate) fn sys_exit_bind_listen(ctx: TracePointContext) -> u32 {
    tell(&ctx);
    0
}

/// `syscalls:sys_exit_connect`: on a datagram socket it takes a port first (net/ipv4/af_inet.c, `inet_dgram_connect`).
#[tracepoint]
pub(crate) fn sys_exit_connect(ctx: TracePointContext) -> u32 {
    tell_without_port(&ctx, Kind::Connect);
    0
}

/// `syscalls:sys_exit_sendto`: it takes a port first (net/ipv4/af_inet.c, `inet_send_prepare`).
#[tracepoint]
pub(crate) fn sys_exit_sendto(ctx: TracePointContext) -> u32 {
    tell_without_port(&ctx, Kind::Send);
    0
}

/// `syscalls:sys_exit_sendmsg`
#[tracepoint]
pub(crate) fn sys_exit_sendmsg(ctx: TracePointContext) -> u32 {
    tell_without_port(&ctx, Kind::Send);
    0
}

/// `syscalls:sys_exit_sendmmsg`
#[tracepoint]
pub(crate) fn sys_exit_sendmmsg(ctx: TracePointContext) -> u32 {
    tell_without_port(&ctx, Kind::Send);
    0
}

/// What the call returned.
#[inline(always)]
pub(crate) fn result(ctx: &TracePointContext) -> i64 {
    let at = constant(&EXIT_RESULT);
    if at != USUAL_EXIT_RESULT {
        // The verifier takes a load from the context only at an offset that is in the instruction.
        return read(ctx.as_ptr() as u64 + at as u64);
    }
    // SAFETY: the tracepoint's record is longer than this offset.
    unsafe { ctx.as_ptr().cast::<u8>().add(USUAL_EXIT_RESULT).cast::<i64>().read() }
}

#[inline(always)]
fn tell(ctx: &TracePointContext) {
    let task = Task::current();
    if is_own(task) {
        return;
    }
    let result = result(ctx);
    let call = Registers::of(task);
    let fd = call.at(FIRST) as i32;
    // `bind(fd, address, length)`, `listen(fd, backlog)`
    let length = call.at(if listens(call) { SECOND } else { THIRD }) as i32;
    let kind = if listens(call) { Kind::Listen } else { Kind::Bind };
    if result == 0 {
        let caller = Caller::of(task, false);
        let told = Call { kind, way: Way::Syscall, result, fd, length };
        told.tell(caller, of_descriptor(task, fd, false).unwrap_or(Socket::NONE), |record| {
            // SAFETY: a filled record.
            unsafe {
                // The port lock says whether the port was asked for; an MPTCP socket's lock is its subflow's.
                let shown = (*record).has_socket == 1 && (*record).socket.protocol != IPPROTO_MPTCP;
                if !shown {
                    request(record, call);
                }
            }
        });
    } else {
        // Rare enough to read through the helper, which the verifier is done with sooner.
        let task = Task::current_address();
        let told = Call { kind, way: Way::Syscall, result, fd, length };
        let socket = of_descriptor(task, fd, true).unwrap_or(Socket::NONE);
        let asked = if result == EADDRINUSE { Asked::Request } else { Asked::Nothing };
        // SAFETY: a record whose call has begun.
        told.tell_with_evidence(socket, asked, |record| unsafe { request(record, call) });
        debug!(ctx, "refused call of process {}", task.pid());
    }
}

/// Writes the address that a `bind` asked for.
///
/// # Safety
/// `record` must be one whose call has begun.
#[inline(always)]
unsafe fn request(record: *mut CallRecord, call: Registers) {
    if !listens(call) {
        // SAFETY: promised by the caller.
        unsafe {
            (*record).requested_len =
                copy_requested(&raw mut (*record).requested, call.at(SECOND), call.at(THIRD) as i32);
        }
    }
}

/// Whether it is a `listen` and no `bind`: by this number the kernel chose the tracepoint (kernel/trace/trace_syscalls.c,
/// `perf_syscall_exit`).
#[inline(always)]
fn listens(call: Registers) -> bool {
    call.at(NUMBER) as u32 == LISTEN
}

/// Tells a call that failed because its datagram socket got no port.
#[inline(always)]
fn tell_without_port(ctx: &TracePointContext, kind: Kind) {
    let result = result(ctx);
    if result != EAGAIN {
        return;
    }
    let task = Task::current();
    if is_own(task) {
        return;
    }
    let fd = Registers::of(task).at(FIRST) as i32;
    let Some(socket) = of_descriptor(task, fd, true) else { return };
    if read::<u16>(socket.sk + offset!(sk_protocol) as u64) != IPPROTO_UDP || has_port(socket) {
        return;
    }
    let call = Call { kind, way: Way::Implicit, result, fd, length: 0 };
    call.tell(Caller::of(task, is_io_worker(task)), socket, |_| ());
}

#[inline(always)]
fn has_port(Socket { sk, .. }: Socket) -> bool {
    read::<u16>(sk + offset!(sk_num) as u64) != 0
}
