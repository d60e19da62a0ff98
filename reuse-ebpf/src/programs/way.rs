//! By which way a bind or listen came: from the task that runs it, its system call and the socket.

use reuse_ebpf::record::Way;

use super::{
    field::{View, is_there, offset},
    maps::TOLD,
    subflow::is_subflow,
    task::Task,
};

/// include/linux/sched.h
const PF_IO_WORKER: u32 = 0x10;
const PF_KTHREAD: u32 = 0x0020_0000;
/// The same number on every architecture since its introduction (include/uapi/asm-generic/unistd.h).
const IO_URING_ENTER: u32 = 426;
/// Set in the number of a system call of the x32 kind (arch/x86/include/uapi/asm/unistd.h); no other architecture has
/// numbers so high.
const X32: u32 = 0x4000_0000;

/// The way of a call that the running task makes on the socket that `sk` gives; `number` is that of the system call which
/// does it. What a system call of that number does is its own, also where it makes a protocol use a TCP socket below.
#[inline(always)]
pub(crate) fn of<const TYPED: bool>(task: Task<TYPED>, number: u32, sk: impl FnOnce() -> u64) -> Way {
    let flags = task.flags();
    if flags & PF_KTHREAD != 0 {
        return Way::Kernel;
    }
    if flags & PF_IO_WORKER != 0 {
        return Way::IoUring;
    }
    let running = task.system_call();
    if running == Some((number, false)) {
        return Way::Syscall;
    }
    if is_kernels(sk()) {
        return Way::Kernel;
    }
    match running {
        Some((IO_URING_ENTER, _)) => Way::IoUring,
        Some((running, compat)) if compat || running == number | X32 => Way::Compat,
        // What io_uring does later it does at the end of whatever system call comes next (io_uring/io_uring.c, task
        // work). Else the kernel does something for that call, as MPTCP's path manager that is told to listen.
        _ if task.uses_io_uring() => Way::IoUring,
        _ => Way::Kernel,
    }
}

/// Whether the task is a thread that io_uring made in its process: its name is io_uring's.
#[inline(always)]
pub(crate) fn is_io_worker<const TYPED: bool>(task: Task<TYPED>) -> bool {
    is_there(offset!(task_flags)) && task.flags() & PF_IO_WORKER != 0
}

/// A socket that the kernel made for itself; MPTCP's subflows are made so for their users.
#[inline(always)]
fn is_kernels(sk: u64) -> bool {
    View::of(sk).bits(offset!(sk_kern_sock), 1) != 0 && !is_subflow(sk)
}

/// Whether binds of this way are to be told by the hooks of the root cgroup.
#[inline(always)]
pub(crate) fn is_bind_told(way: Way) -> bool {
    TOLD.get(0).is_some_and(|told| told & way.bit() != 0)
}

/// Whether this daemon's hooks are on the root cgroup, and so among the programs of every group.
#[inline(always)]
pub(crate) fn has_bind_hooks() -> bool {
    TOLD.get(0).is_some_and(|told| told & Way::BIND_BITS != 0)
}

/// Whether listens of this way are to be told by the changes of state.
#[inline(always)]
pub(crate) fn is_listen_told(way: Way) -> bool {
    TOLD.get(0).is_some_and(|told| told & way.listen_bit() != 0)
}
