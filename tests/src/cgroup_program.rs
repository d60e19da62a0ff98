//! BPF programs on a control group that forbid bind(), as systemd's SocketBindDeny= attaches them: loaded with the bpf()
//! system call itself.

use std::{
    fs::File,
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context, Result};

use crate::cgroup::Group;

/// Where a program is asked (`enum bpf_attach_type`, `include/uapi/linux/bpf.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before the kernel looks at an IPv4 address: `BPF_CGROUP_INET4_BIND`.
    Bind4,
    /// The same for IPv6: `BPF_CGROUP_INET6_BIND`.
    Bind6,
    /// After an IPv4 socket got its port, which a refusal takes away again: `BPF_CGROUP_INET4_POST_BIND`.
    PostBind4,
}

impl Hook {
    /// Type of program (`enum bpf_prog_type`) and of attachment.
    fn numbers(self) -> (u32, u32) {
        const CGROUP_SOCK: u32 = 9;
        const CGROUP_SOCK_ADDR: u32 = 18;
        match self {
            Self::Bind4 => (CGROUP_SOCK_ADDR, 8),
            Self::Bind6 => (CGROUP_SOCK_ADDR, 9),
            Self::PostBind4 => (CGROUP_SOCK, 12),
        }
    }
}

/// Forbids every bind that meets `hook` to the processes of `group`, until the group goes.
///
/// # Errors
/// When the kernel refuses.
pub fn forbid(group: &Group, hook: Hook) -> Result<()> {
    let program = load(hook).with_context(|| format!("loading a program for {hook:?}"))?;
    let directory = File::open(group.path()).with_context(|| group.path().display().to_string())?;
    /// The members of `union bpf_attr` that `BPF_PROG_ATTACH` uses.
    #[repr(C)]
    struct Attach {
        target: i32,
        program: i32,
        kind: u32,
        flags: u32,
    }
    const BPF_PROG_ATTACH: libc::c_int = 8;
    let attribute = Attach {
        target: directory.as_raw_fd(),
        program: program.as_raw_fd(),
        kind: hook.numbers().1,
        flags: 0,
    };
    bpf(BPF_PROG_ATTACH, &attribute).with_context(|| format!("attaching to {}", group.path().display()))?;
    Ok(())
}

/// Loads a program that answers 0, which is no.
fn load(hook: Hook) -> io::Result<OwnedFd> {
    /// The members of `union bpf_attr` that `BPF_PROG_LOAD` uses.
    #[repr(C)]
    struct Load {
        kind: u32,
        steps: u32,
        code: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        expected_attachment: u32,
    }
    const BPF_PROG_LOAD: libc::c_int = 5;
    // r0 = 0; exit. The operation is the first byte of a step (`struct bpf_insn`).
    let code = [[0xb7_u8, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let license = c"GPL";
    let (kind, expected_attachment) = hook.numbers();
    let attribute = Load {
        kind,
        steps: 2,
        code: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
        interface: 0,
        expected_attachment,
    };
    let descriptor = bpf(BPF_PROG_LOAD, &attribute)?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn bpf<T>(command: libc::c_int, attribute: &T) -> io::Result<i32> {
    // SAFETY: pointer and size describe the attribute, which lives through the call, as all it points to does; these
    // commands only read it.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attribute, size_of::<T>()) };
    i32::try_from(outcome).ok().filter(|outcome| *outcome >= 0).ok_or_else(io::Error::last_os_error)
}
