//! `iter/task_file`: descriptors of processes that refer to sockets, in any namespace: all that hold a port, or those
//! that are asked for.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::seq_file,
    helpers::generated::{bpf_get_current_pid_tgid, bpf_seq_write},
};
use reuse_ebpf::record::{COMM, HoldingRecord};

use super::{
    field::{View, copy, is_there, load, offset, read, read_if_there},
    group::copy_group,
    maps::{OWN, WANTED},
    multicast::copy_groups,
    socket::{
        AF_INET, AF_INET6, Copied, IPPROTO_TCP, IPPROTO_UDP, S_IFMT, S_IFSOCK, copy_common, copy_rest, drops,
        holds_port, inode_number, of_socket,
    },
    subflow::listener,
    task::Task,
};

/// `struct bpf_iter__task_file` (kernel/bpf/task_iter.c)
#[repr(C)]
pub(crate) struct TaskFile {
    meta: *const *mut seq_file,
    task: *const u8,
    fd: u32,
    padding: u32,
    file: *const u8,
}

/// Every socket that holds a port.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub(crate) fn snapshot(ctx: *const TaskFile) -> i32 {
    note_reader();
    // SAFETY: the context of this iterator, as the helper asks for.
    unsafe {
        tell(ctx, |sk, common, _| {
            let protocol: u16 = read(sk + offset!(sk_protocol) as u64);
            holds_port(View::of(sk), protocol, common.at(offset!(sk_state)), common.at(offset!(sk_num)))
        });
    };
    0
}

/// The sockets whose inode numbers are wanted, whatever they are.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub(crate) fn owners(ctx: *const TaskFile) -> i32 {
    // SAFETY: as above.
    unsafe { tell(ctx, |_, _, socket| WANTED.get_ptr(inode_number(socket)).is_some()) };
    0
}

/// Tells of a descriptor that refers to a socket of IPv4 or IPv6, if `wanted` says so of its `struct sock`, the first
/// bytes of it, and its `struct socket`.
///
/// # Safety
/// `ctx` must be the context of this iterator.
#[inline(always)]
unsafe fn tell(ctx: *const TaskFile, wanted: impl FnOnce(u64, Copied, u64) -> bool) {
    // SAFETY: promised by the caller; task and file are null on the iterator's last call.
    let (seq, task, fd, file) = unsafe { ((*ctx).meta, (*ctx).task, (*ctx).fd, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return;
    }
    let task = Task::from_argument(task);
    // SAFETY: `file` is typed and not null; the members are their BTF members.
    let (mode, private) = unsafe {
        let inode: *const u8 = load(file, offset!(file_inode));
        (load::<u16>(inode, offset!(inode_mode)), load::<u64>(file, offset!(file_private)))
    };
    if mode & S_IFMT != S_IFSOCK {
        return;
    }
    let Some(socket) = of_socket(private) else { return };
    let sk = socket.sk;
    let mut record = MaybeUninit::<HoldingRecord>::uninit();
    let to = record.as_mut_ptr();
    // SAFETY: `to` is one whole record on the stack; the helper copies it to the iterator's file. `file` as above.
    unsafe {
        // Zeroes that the verifier does not know for such: it would check what follows for each way to fill a part of it.
        copy(to.cast(), size_of::<HoldingRecord>(), 0);
        // The stack has no room for the first bytes of the socket and a record that has them too.
        let common = copy_common(&raw mut (*to).socket, sk);
        let family: u16 = common.at(offset!(sk_family));
        if (family != AF_INET && family != AF_INET6) || !wanted(sk, common, socket.socket) {
            return;
        }
        // First what loops: the verifier checks a loop again for each way that led to it.
        match read(sk + offset!(sk_protocol) as u64) {
            IPPROTO_UDP => copy_groups(to, sk, family),
            IPPROTO_TCP if is_there(offset!(tcp_repair)) => {
                (*to).repair = View::of(sk).bits(offset!(tcp_repair), 1);
            }
            _ => {}
        }
        (*to).pid = task.pid();
        (*to).fd = fd;
        (*to).uid = task.euid();
        (*to).drops = drops(View::of(sk));
        (*to).accept_queue = read_if_there(sk, offset!(sk_ack_backlog));
        (*to).accept_queue_limit = read_if_there(sk, offset!(sk_max_ack_backlog));
        (*to).receive_queue = read_if_there(sk, offset!(sk_rmem_alloc));
        (*to).receive_queue_limit = read_if_there(sk, offset!(sk_rcvbuf));
        (&raw mut (*to).comm).cast::<[u64; COMM / 8]>().write(task.comm());
        copy_group(&raw mut (*to).group, listener(sk));
        if is_there(offset!(file_cred)) {
            let cred: u64 = load(file, offset!(file_cred));
            (*to).creator = read(cred + offset!(cred_fsuid) as u64);
            (*to).has_creator = 1;
        }
        copy_rest(&raw mut (*to).socket, socket, task.netns());
        bpf_seq_write(*seq, to.cast(), size_of::<HoldingRecord>() as u32);
    }
}

/// The program runs in the process that reads the iterator, the daemon: that is how it learns its process id in the
/// initial pid namespace, whatever namespace it lives in itself.
#[inline(always)]
fn note_reader() {
    if let Some(own) = OWN.get_ptr_mut(0) {
        // SAFETY: the array's only element; always the same value is written.
        unsafe { own.write_volatile((bpf_get_current_pid_tgid() >> 32) as u32) };
    }
}
