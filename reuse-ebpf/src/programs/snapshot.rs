//! `iter/task_file`: every descriptor of every process that refers to a socket holding a port, in any namespace.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::seq_file,
    helpers::generated::{bpf_get_current_pid_tgid, bpf_seq_write},
};
use reuse_ebpf::record::{COMM, HoldingRecord};

use super::{
    field::{copy, load, offset, read},
    maps::OWN,
    socket::{copy_raw, drops, holds_port, of_socket},
};

const S_IFMT: u16 = 0xf000;
const S_IFSOCK: u16 = 0xc000;

/// `struct bpf_iter__task_file` (kernel/bpf/task_iter.c)
#[repr(C)]
pub(crate) struct TaskFile {
    meta: *const *mut seq_file,
    task: *const u8,
    fd: u32,
    padding: u32,
    file: *const u8,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub(crate) fn snapshot(ctx: *const TaskFile) -> i32 {
    // SAFETY: the context of this iterator; task and file are null on its last call.
    let (seq, task, fd, file) = unsafe { ((*ctx).meta, (*ctx).task, (*ctx).fd, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return 0;
    }
    note_reader();
    // SAFETY: `file` and `task` are typed and not null; the members are their BTF members.
    let (mode, private, pid, cred) = unsafe {
        let inode: *const u8 = load(file, offset!(file_inode));
        (
            load::<u16>(inode, offset!(inode_mode)),
            load::<u64>(file, offset!(file_private)),
            load::<u32>(task, offset!(task_tgid)),
            load::<u64>(task, offset!(task_cred)),
        )
    };
    if mode & S_IFMT != S_IFSOCK {
        return 0;
    }
    let Some(socket) = of_socket(private) else { return 0 };
    let sk = socket.sk;
    let family: u16 = read(sk + offset!(sk_family) as u64);
    if family != super::socket::AF_INET && family != super::socket::AF_INET6 {
        return 0;
    }
    let protocol: u16 = read(sk + offset!(sk_protocol) as u64);
    let state: u8 = read(sk + offset!(sk_state) as u64);
    if !holds_port(sk, protocol, state) {
        return 0;
    }
    let mut record = MaybeUninit::<HoldingRecord>::zeroed();
    let to = record.as_mut_ptr();
    // SAFETY: `to` is one whole record on the stack; the helper copies it to the iterator's file.
    unsafe {
        (*to).pid = pid;
        (*to).fd = fd;
        (*to).uid = read(cred + offset!(cred_euid) as u64);
        (*to).drops = drops(sk);
        (*to).accept_queue = read(sk + offset!(sk_ack_backlog) as u64);
        (*to).accept_queue_limit = read(sk + offset!(sk_max_ack_backlog) as u64);
        (*to).receive_queue = read(sk + offset!(sk_rmem_alloc) as u64);
        (*to).receive_queue_limit = read(sk + offset!(sk_rcvbuf) as u64);
        copy((&raw mut (*to).comm).cast(), COMM, super::field::address_of(task) + offset!(task_comm) as u64);
        copy_raw(&raw mut (*to).socket, socket);
        bpf_seq_write(*seq, to.cast(), size_of::<HoldingRecord>() as u32);
    }
    0
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
