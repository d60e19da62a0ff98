//! The calls of bpf(2) that aya has no parameter for: an iterator link over a given map or process, reading it, and
//! running a program once; and the length of a timer tick.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use nix::time::{ClockId, clock_getres};

/// include/uapi/linux/bpf.h, `enum bpf_cmd`
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
/// `enum bpf_attach_type`
const BPF_TRACE_ITER: u32 = 28;

/// `union bpf_attr`, member `link_create`, as far as the iterator's fields
#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_fd: i32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    padding: u32,
}

/// `union bpf_iter_link_info`, whose members `map.map_fd` and `task.{tid,pid,pid_fd}` begin together; it is 16 bytes.
type IterLinkInfo = [u32; 4];

/// `union bpf_attr`, member `iter_create`
#[repr(C)]
struct IterCreate {
    link_fd: i32,
    flags: u32,
}

/// A link between an iterator program and the map it goes over.
pub(super) fn link_map_iterator(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    link_iterator(program, &[map.as_raw_fd().cast_unsigned(), 0, 0, 0])
}

/// A link between an iterator over tasks and one process of this pid namespace, or all of them.
pub(super) fn link_task_iterator(program: BorrowedFd<'_>, pid: Option<u32>) -> io::Result<OwnedFd> {
    link_iterator(program, &[0, pid.unwrap_or(0), 0, 0])
}

fn link_iterator(program: BorrowedFd<'_>, info: &IterLinkInfo) -> io::Result<OwnedFd> {
    let attributes = LinkCreate {
        prog_fd: program.as_raw_fd(),
        target_fd: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        iter_info: std::ptr::from_ref(info) as u64,
        iter_info_len: size_of::<IterLinkInfo>() as u32,
        padding: 0,
    };
    bpf(BPF_LINK_CREATE, &attributes)
}

/// A file that runs the iterator once when read.
pub(super) fn open_iterator(link: BorrowedFd<'_>) -> io::Result<File> {
    bpf(BPF_ITER_CREATE, &IterCreate { link_fd: link.as_raw_fd(), flags: 0 }).map(File::from)
}

/// `union bpf_attr`, member `test`
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: i32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// Runs a raw tracepoint's program once, in this thread, with these arguments.
pub(super) fn run_raw_tracepoint(program: BorrowedFd<'_>, arguments: &[u64]) -> io::Result<()> {
    let attributes = TestRun {
        prog_fd: program.as_raw_fd(),
        ctx_size_in: size_of_val(arguments) as u32,
        ctx_in: arguments.as_ptr() as u64,
        ..TestRun::default()
    };
    call(BPF_PROG_TEST_RUN, &attributes).map(drop)
}

/// One tick of the kernel's timers: what its coarse clocks are exact to (kernel/time/posix-timers.c,
/// `posix_get_coarse_res`).
pub(super) fn tick() -> Duration {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map(Duration::from);
    tick.unwrap_or(Duration::from_millis(4))
}

/// Makes a descriptor by bpf(2).
pub(super) fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn call<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is the command's argument with its true size; the kernel uses it during the call only, and
    // what it points to lives until after.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
