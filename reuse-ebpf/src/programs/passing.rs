//! Sockets that hold a port, in messages to other processes (`SCM_RIGHTS`).
//!
//! Whoever sends a message over AF_UNIX wakes the receiver, right after the message was queued (net/unix/af_unix.c,
//! `unix_stream_sendmsg`, `unix_dgram_sendmsg`) and in the sender's own call. A receiver that is faster than the look at the
//! newest message, or another sender, hides one; the next reconciliation finds the new owner.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_loop};
use reuse_ebpf::{
    count::Lost,
    record::{Kind, PassRecord},
};

use super::{
    call::is_own,
    emit::{reserve, submit_quietly},
    field::{View, offset, read},
    socket::{AF_INET, AF_INET6, holds_port, inode_number, of_file},
    task::Task,
};

/// Most files of a message that are looked at.
const FILES_MAX: u32 = 16;

/// The files of one message.
struct Files {
    /// Where the next stands
    at: u64,
    pid: u32,
}

/// Tells of each socket that holds a port among the files of a message: `files` is its `struct scm_fp_list *`.
#[inline(always)]
pub(crate) fn tell_files(files: u64) {
    let task = Task::current_address();
    if is_own(task) {
        return;
    }
    let count: u16 = read(files + offset!(files_count) as u64);
    let count = u32::from(count).min(FILES_MAX);
    let mut files = Files { at: files + offset!(files_first) as u64, pid: task.pid() };
    // SAFETY: the callback gets the files, which outlive the loop.
    unsafe { bpf_loop(count, tell_file as *mut c_void, (&raw mut files).cast::<c_void>(), 0) };
}

/// A callback of `bpf_loop`, private so that the loader takes it for one.
#[inline(never)]
extern "C" fn tell_file(_index: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the caller's; nothing else refers to it during the step.
    let files = unsafe { &mut *context.cast::<Files>() };
    let file: u64 = read(files.at);
    files.at += size_of::<u64>() as u64;
    let Some(inode) = port_holder(file) else { return 0 };
    let Some(mut entry) = reserve::<PassRecord>(Lost::RingPass) else { return 0 };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved space of one record, all of it written.
    unsafe {
        (*record).kind = Kind::Sent as u32;
        (*record).pid = files.pid;
        (*record).boottime_ns = bpf_ktime_get_boot_ns();
        (*record).inode = inode;
    }
    submit_quietly(entry);
    0
}

/// Inode number of the socket behind a file, if it holds a port.
#[inline(always)]
fn port_holder(file: u64) -> Option<u64> {
    let socket = if file == 0 { None } else { of_file(file, true) }?;
    let sk = View::of(socket.sk);
    let family: u16 = sk.at(offset!(sk_family));
    if family != AF_INET && family != AF_INET6 {
        return None;
    }
    let holds = holds_port(sk, sk.at(offset!(sk_protocol)), sk.at(offset!(sk_state)), sk.at(offset!(sk_num)));
    holds.then(|| inode_number(socket.socket))
}
