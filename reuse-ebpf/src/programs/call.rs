//! `bind` and `listen` at their return: one program each, no entry program, since the arguments are still in the saved
//! registers.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_task_pt_regs},
    macros::tracepoint,
    programs::TracePointContext,
};
use aya_log_ebpf::debug;
use reuse_ebpf::{
    count::Lost,
    record::{COMM, CallRecord, Kind, SOCKADDR},
};

use super::{
    arch::{EXIT_RESULT, FIRST, SECOND, THIRD},
    circumstances,
    emit::{reserve, send, submit},
    field::{copy_user, offset, read},
    maps::OWN,
    port::{self, SCRATCH, Scratch, Wanted},
    socket::{AF_INET, AF_INET6, Common, IPPROTO_MPTCP, Socket, copy_raw, of_descriptor},
    task::Task,
};

const EADDRINUSE: i64 = -98;

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

#[inline(always)]
fn tell(ctx: &TracePointContext, kind: Kind) {
    let task = Task::current();
    if is_own(task.pid()) {
        return;
    }
    // SAFETY: the tracepoint's record is longer than this offset; the saved registers of the current task are whole.
    let (result, fd, second, length) = unsafe {
        let registers = bpf_task_pt_regs(task.as_ptr().cast()) as *const u64;
        let result = ctx.as_ptr().cast::<u8>().add(EXIT_RESULT).cast::<i64>().read();
        (
            result,
            registers.add(FIRST).read() as i32,
            registers.add(SECOND).read(),
            registers.add(THIRD).read() as i32,
        )
    };
    let call = Returned { task, kind, result, fd, second, length };
    if result != 0 {
        return refused(&call);
    }
    let Some(mut entry) = reserve::<CallRecord>(Lost::RingCall) else {
        debug!(ctx, "no room in the ring for a call of process {}", task.pid());
        return;
    };
    // SAFETY: the reserved space of one record.
    unsafe { call.fill(entry.as_mut_ptr()) };
    submit(entry);
}

/// A call and what it returned.
#[derive(Clone, Copy)]
struct Returned {
    task: Task,
    kind: Kind,
    result: i64,
    fd: i32,
    second: u64,
    length: i32,
}

impl Returned {
    /// Writes the record of the call; gives its socket.
    ///
    /// # Safety
    /// `record` must be valid for writes; all its fields are written, `socket` only with `has_socket`, `requested` only
    /// as far as `requested_len` says.
    #[inline(always)]
    unsafe fn fill(&self, record: *mut CallRecord) -> Option<Socket> {
        let Self { task, kind, result, fd, second, length } = *self;
        // SAFETY: promised by the caller.
        unsafe {
            (*record).kind = kind as u32;
            (*record).result = result as i32;
            (*record).boottime_ns = bpf_ktime_get_boot_ns();
            (*record).pid = task.pid();
            (*record).tid = task.tid();
            (*record).cgroup = task.cgroup();
            (&raw mut (*record).comm).cast::<[u64; COMM / 8]>().write_unaligned(task.comm());
            (*record).uid = task.euid();
            (*record).fd = fd;
            // `bind(fd, address, length)`, `listen(fd, backlog)`
            (*record).length = if matches!(kind, Kind::Bind) { length } else { second as i32 };
            (*record).queue_limit = 0;
            (*record).requested_len = 0;
            (*record).has_socket = 0;
            (*record).reserved = 0;
            let mut shows_request = false;
            let socket = of_descriptor(task, fd, result != 0);
            if let Some(socket) = socket {
                copy_raw(&raw mut (*record).socket, socket, task);
                (*record).has_socket = 1;
                // The port lock says whether the port was asked for; an MPTCP socket's lock is its subflow's.
                shows_request = result == 0 && (*record).socket.protocol != IPPROTO_MPTCP;
                if matches!(kind, Kind::Listen) && result == 0 {
                    (*record).queue_limit = read(socket.sk + offset!(sk_max_ack_backlog) as u64);
                }
            }
            if matches!(kind, Kind::Bind) && !shows_request {
                (*record).requested_len = copy_requested(&raw mut (*record).requested, second, length);
            }
            socket
        }
    }
}

/// A refused call: with what the kernel's answer depended on.
#[inline(always)]
fn refused(call: &Returned) {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: the map's element for this CPU, which nothing else uses while a tracepoint's program runs on it; what is
    // sent was written: the call, and of the evidence as much as there is.
    unsafe {
        let length = match call.fill(&raw mut (*scratch).call) {
            Some(socket) => {
                port::clear(scratch);
                note_evidence(scratch, call, socket);
                port::length(scratch)
            }
            None => size_of::<CallRecord>() as u64,
        };
        send(scratch.cast::<u8>(), length, Lost::RingCall);
    }
}

/// Notes what a refusal depended on, for sockets of IPv4 and IPv6.
///
/// # Safety
/// `scratch` must point to the whole scratch record of this CPU, with its call filled.
#[inline(always)]
unsafe fn note_evidence(scratch: *mut Scratch, call: &Returned, Socket { sk, .. }: Socket) {
    let common: Common = read(sk);
    let family: u16 = common.at(offset!(sk_family));
    if family != AF_INET && family != AF_INET6 {
        return;
    }
    // SAFETY: promised by the caller.
    unsafe {
        let protocol = (*scratch).call.socket.protocol;
        circumstances::note(&raw mut (*scratch).evidence, call.task, sk, protocol, &common);
        if call.result != EADDRINUSE {
            return;
        }
        let record = &raw const (*scratch).call;
        let wanted = match call.kind {
            Kind::Bind => Wanted::from_sockaddr(&(*record).requested, (*record).requested_len, family),
            _ => Some(Wanted::of_bound(&common)),
        };
        if let Some(wanted) = wanted.filter(|wanted| wanted.port != 0) {
            port::read_port(scratch, sk, protocol, &common, wanted, port::BRIEFLY);
        }
    }
}

/// Copies the address argument. It is user memory that another thread may have changed since; nothing is decided on it.
///
/// # Safety
/// `to` must be valid for writes.
#[inline(always)]
unsafe fn copy_requested(to: *mut [u8; SOCKADDR], address: u64, length: i32) -> u32 {
    if length <= 0 {
        return 0;
    }
    // The verifier wants to see the bound on the very register that the helper gets.
    let wanted = core::hint::black_box((length as u32).min(SOCKADDR as u32))
        & ((SOCKADDR as u32).next_power_of_two() - 1);
    // SAFETY: `wanted` is at most SOCKADDR: the mask changes nothing.
    if unsafe { copy_user(to.cast(), wanted, address) } { wanted } else { 0 }
}

#[inline(always)]
fn is_own(pid: u32) -> bool {
    OWN.get(0).is_some_and(|own| *own == pid)
}
