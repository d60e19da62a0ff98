//! The two calls of bpf(2) that aya has no parameter for: an iterator link over a given map, and reading it.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// include/uapi/linux/bpf.h, `enum bpf_cmd`
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

/// `union bpf_iter_link_info`, member `map`; the whole union is 16 bytes
#[repr(C)]
struct IterLinkInfo {
    map_fd: u32,
    padding: [u32; 3],
}

/// `union bpf_attr`, member `iter_create`
#[repr(C)]
struct IterCreate {
    link_fd: i32,
    flags: u32,
}

/// A link between an iterator program and the map it goes over.
pub(super) fn link_map_iterator(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let info = IterLinkInfo { map_fd: map.as_raw_fd().cast_unsigned(), padding: [0; 3] };
    let attributes = LinkCreate {
        prog_fd: program.as_raw_fd(),
        target_fd: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        iter_info: (&raw const info) as u64,
        iter_info_len: size_of::<IterLinkInfo>() as u32,
        padding: 0,
    };
    bpf(BPF_LINK_CREATE, &attributes)
}

/// A file that runs the iterator once when read.
pub(super) fn open_iterator(link: BorrowedFd<'_>) -> io::Result<File> {
    bpf(BPF_ITER_CREATE, &IterCreate { link_fd: link.as_raw_fd(), flags: 0 }).map(File::from)
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attributes` is the command's argument with its true size; the kernel reads it during the call only, and
    // what it points to lives until after.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
