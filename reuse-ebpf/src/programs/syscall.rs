//! `bind` and `listen` at the return of their system calls: one program each, no entry program, since the arguments are
//! still in the saved registers. And, where it is asked for, the calls that bind an unbound datagram socket on the way.

use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_task_pt_regs, macros::tracepoint, programs::TracePointContext,
};
use aya_log_ebpf::debug;
use reuse_ebpf::record::{CallRecord, Kind, Way};

use super::{
    arch::{EXIT_RESULT, FIRST, SECOND, THIRD, USUAL_EXIT_RESULT},
    call::{Call, copy_requested, is_own},
    field::{constant, offset, read},
    socket::{Common, IPPROTO_MPTCP, IPPROTO_UDP, Socket, of_descriptor},
    task::Task,
};

const EADDRINUSE: i64 = -98;
const EAGAIN: i64 = -11;

/// `syscalls:sys_exit_bind`
#[tracepoint]
pub(crate) fn sys_exit_bind(ctx: TracePointContext) -> u32 {
    tell(&ctx, Kind::Bind);
    0
}

/// `syscalls:sys_exit_listen`
#[tracepoint]
pub(crate) fn sys_exit_listen(ctx: TracePointContext) -> u32 {
    tell(&ctx, Kind::Listen);
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

/// Its first three arguments.
#[inline(always)]
fn arguments(task: Task) -> (i32, u64, i32) {
    // SAFETY: the saved registers of the current task are whole.
    unsafe {
        let registers = bpf_task_pt_regs(task.as_ptr().cast()) as *const u64;
        (registers.add(FIRST).read() as i32, registers.add(SECOND).read(), registers.add(THIRD).read() as i32)
    }
}

#[inline(always)]
fn tell(ctx: &TracePointContext, kind: Kind) {
    let task = Task::current();
    if is_own(task) {
        return;
    }
    let result = result(ctx);
    let (fd, second, third) = arguments(task);
    // `bind(fd, address, length)`, `listen(fd, backlog)`
    let length = if matches!(kind, Kind::Bind) { third } else { second as i32 };
    let request = |record: *mut CallRecord| {
        // SAFETY: a filled record.
        unsafe {
            // The port lock says whether the port was asked for; an MPTCP socket's lock is its subflow's.
            let shown =
                result == 0 && (*record).has_socket == 1 && (*record).socket.protocol != IPPROTO_MPTCP;
            if matches!(kind, Kind::Bind) && !shown {
                (*record).requested_len = copy_requested(&raw mut (*record).requested, second, length);
            }
        }
    };
    if result == 0 {
        let call = Call { task, kind, way: Way::Syscall, result, fd, length };
        call.tell(of_descriptor(task, fd, false).unwrap_or(Socket::NONE), request);
    } else {
        // Rare enough to read through the helper, which the verifier is done with sooner.
        let task = Task::current_address();
        let call = Call { task, kind, way: Way::Syscall, result, fd, length };
        let socket = of_descriptor(task, fd, true).unwrap_or(Socket::NONE);
        call.tell_with_evidence(socket, result == EADDRINUSE, request);
        debug!(ctx, "refused call of process {}", task.pid());
    }
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
    let (fd, ..) = arguments(task);
    let Some(socket) = of_descriptor(task, fd, true) else { return };
    if read::<u16>(socket.sk + offset!(sk_protocol) as u64) != IPPROTO_UDP || has_port(socket) {
        return;
    }
    let call = Call { task, kind, way: Way::Implicit, result, fd, length: 0 };
    call.tell(socket, |_| ());
}

#[inline(always)]
fn has_port(Socket { sk, .. }: Socket) -> bool {
    let common: Common = read(sk);
    common.at::<u16>(offset!(sk_num)) != 0
}
