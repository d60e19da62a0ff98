//! The end of sockets; the beginning and the end of processes, and their programs.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::{btf_tracepoint, cgroup_sock},
    programs::{BtfTracePointContext, SockContext},
};
use reuse_ebpf::{
    count::Lost,
    record::{CloseRecord, ExecRecord, ExitRecord, ForkRecord, Kind},
};

use super::{
    emit::{reserve, submit, submit_quietly},
    field::{View, load, offset},
    socket::{drops, holds_port, inode_number},
    task::Task,
};

/// `cgroup/sock_release` on the root of cgroup v2: the last descriptor of an IPv4 or IPv6 socket is gone
/// (net/ipv4/af_inet.c, `inet_release`), in any namespace; other families pay nothing.
#[cgroup_sock(sock_release)]
pub(crate) fn sock_release(ctx: SockContext) -> i32 {
    const ALLOW: i32 = 1;
    // SAFETY: members of the program's context, always readable.
    let (protocol, state) = unsafe { ((*ctx.sock).protocol as u16, (*ctx.sock).state as u8) };
    let sk = View::of_typed(ctx.sock);
    if !holds_port(sk, protocol, state, sk.at(offset!(sk_num))) {
        return ALLOW;
    }
    let Some(mut entry) = reserve::<CloseRecord>(Lost::RingClose) else { return ALLOW };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved space of one record, all of it written.
    unsafe {
        (*record).kind = Kind::Close as u32;
        (*record).drops = if sk.bits(offset!(sk_reuseport), 1) != 0 { drops(sk) } else { 0 };
        (*record).boottime_ns = bpf_ktime_get_boot_ns();
        (*record).inode = inode_number(sk.at(offset!(sk_socket)));
        (*record).cookie = sk.at(offset!(sk_cookie));
    }
    submit(entry);
    ALLOW
}

/// `tp_btf/sched_process_exit(struct task_struct *p, ..)`: told once the last thread of the process is going
/// (kernel/exit.c: `signal->live` is decremented before the tracepoint, descriptors are closed after it).
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    // SAFETY: `task` is the tracepoint's typed argument; the members are its BTF members.
    let live: i32 = unsafe {
        let signal: *const u8 = load(task, offset!(task_signal));
        load(signal, offset!(signal_live))
    };
    if live != 0 {
        return 0;
    }
    let Some(mut entry) = reserve::<ExitRecord>(Lost::RingExit) else { return 0 };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved space of one record, all of it written.
    unsafe {
        (*record).kind = Kind::Exit as u32;
        (*record).pid = Task::from_argument(task).pid();
        (*record).boottime_ns = bpf_ktime_get_boot_ns();
    }
    submit(entry);
    0
}

/// `tp_btf/sched_process_fork(struct task_struct *parent, struct task_struct *child)`: threads tell nothing.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let (parent, child) = (Task::from_argument(ctx.arg(0)).pid(), Task::from_argument(ctx.arg(1)).pid());
    if parent == child {
        return 0;
    }
    let Some(mut entry) = reserve::<ForkRecord>(Lost::RingProcess) else { return 0 };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved space of one record, all of it written.
    unsafe {
        (*record).kind = Kind::Fork as u32;
        (*record).parent = parent;
        (*record).boottime_ns = bpf_ktime_get_boot_ns();
        (*record).child = child;
        (*record).reserved = 0;
    }
    submit_quietly(entry);
    0
}

/// `tp_btf/sched_process_exec(struct task_struct *p, ..)`: the process has its new program; whichever thread asked for it is
/// the only one that is left.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = Task::from_argument(ctx.arg(0));
    let Some(mut entry) = reserve::<ExecRecord>(Lost::RingProcess) else { return 0 };
    let record = entry.as_mut_ptr();
    // SAFETY: as above.
    unsafe {
        (*record).kind = Kind::Exec as u32;
        (*record).pid = task.pid();
        (*record).boottime_ns = bpf_ktime_get_boot_ns();
    }
    submit_quietly(entry);
    0
}
