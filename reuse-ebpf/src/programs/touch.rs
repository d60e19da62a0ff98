//! Changes of sockets by other calls than `bind` and `listen`, and descriptors that are taken from other processes: at the
//! return of the system calls, like those.
//!
//! An entry program would have the arguments in its context. But the first one there is makes every system call of the host
//! dearer once more, and it would tell what is then refused.

use aya_ebpf::{helpers::generated::bpf_ktime_get_boot_ns, macros::tracepoint, programs::TracePointContext};
use reuse_ebpf::{
    count::Lost,
    record::{COMM, Kind, PassRecord, TouchRecord},
    touch::Touched,
};

use super::{
    arch::{FIFTH, FIRST, SECOND, THIRD},
    call::is_own,
    emit::{reserve, submit, submit_quietly},
    field::{View, copy_user, offset},
    registers::Registers,
    socket::{AF_INET, AF_INET6, Socket, holds_port, inode_number, of_descriptor},
    syscall::result,
    task::Task,
};

/// `syscalls:sys_exit_setsockopt`: `setsockopt(fd, level, option, value, length)`
#[tracepoint]
pub(crate) fn sys_exit_setsockopt(ctx: TracePointContext) -> u32 {
    if result(&ctx) == 0 {
        let call = registers();
        if let Some(what) = Touched::by_option(call.at(SECOND) as i32, call.at(THIRD) as i32) {
            tell(call.at(FIRST) as i32, what);
        }
    }
    0
}

/// `syscalls:sys_exit_fchown`: `fchown(fd, owner, group)`
#[tracepoint]
pub(crate) fn sys_exit_fchown(ctx: TracePointContext) -> u32 {
    if result(&ctx) == 0 {
        tell(registers().at(FIRST) as i32, Touched::Uid);
    }
    0
}

/// `syscalls:sys_exit_fchownat`: `fchownat(fd, path, owner, group, flags)`, which means the descriptor itself if the path is
/// empty.
#[tracepoint]
pub(crate) fn sys_exit_fchownat(ctx: TracePointContext) -> u32 {
    const AT_EMPTY_PATH: u32 = 0x1000;
    let call = registers();
    if result(&ctx) == 0 && call.at(FIFTH) as u32 & AT_EMPTY_PATH != 0 && is_empty(call.at(SECOND)) {
        tell(call.at(FIRST) as i32, Touched::Uid);
    }
    0
}

/// `syscalls:sys_exit_pidfd_getfd`
#[tracepoint]
pub(crate) fn sys_exit_pidfd_getfd(ctx: TracePointContext) -> u32 {
    let task = Task::current_address();
    if result(&ctx) < 0 || is_own(task) {
        return 0;
    }
    let Some(mut entry) = reserve::<PassRecord>(Lost::RingPass) else { return 0 };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved space of one record, all of it written.
    unsafe {
        (*record).kind = Kind::Took as u32;
        (*record).pid = task.pid();
        (*record).boottime_ns = bpf_ktime_get_boot_ns();
        (*record).inode = 0;
    }
    submit_quietly(entry);
    0
}

/// The registers of the calling task.
#[inline(always)]
fn registers() -> Registers {
    Registers::of(Task::current())
}

/// Whether a path is, or there is none (6.11 and later).
#[inline(always)]
fn is_empty(path: u64) -> bool {
    let mut first = 0_u8;
    // SAFETY: one byte.
    path == 0 || unsafe { copy_user(&raw mut first, 1, path) } && first == 0
}

/// Tells a change of the socket behind a descriptor, if it holds a port.
#[inline(always)]
fn tell(fd: i32, what: Touched) {
    tell_touched(fd, what as u32);
}

/// To the verifier a function of its own, as [`super::evidence`] is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tell_touched(fd: i32, what: u32) -> i32 {
    let task = Task::current_address();
    let Some(Socket { socket, sk }) = of_descriptor(task, fd, true) else { return 0 };
    let sk = View::of(sk);
    let family: u16 = sk.at(offset!(sk_family));
    let holds = holds_port(sk, sk.at(offset!(sk_protocol)), sk.at(offset!(sk_state)), sk.at(offset!(sk_num)));
    if (family != AF_INET && family != AF_INET6) || !holds || is_own(task) {
        return 0;
    }
    let Some(mut entry) = reserve::<TouchRecord>(Lost::RingTouch) else { return 0 };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved space of one record, all of it written.
    unsafe {
        (*record).kind = Kind::Touch as u32;
        (*record).pid = task.pid();
        (*record).boottime_ns = bpf_ktime_get_boot_ns();
        (*record).inode = inode_number(socket);
        (*record).cookie = sk.at(offset!(sk_cookie));
        (*record).cgroup = task.cgroup();
        (&raw mut (*record).comm).cast::<[u64; COMM / 8]>().write(task.comm());
        (*record).tid = task.tid();
        (*record).uid = task.euid();
        (*record).what = what as u8;
        (*record).reuse = sk.bits(offset!(sk_reuse), 4);
        (*record).reserved = [0; 6];
    }
    submit(entry);
    0
}
