//! Calls that a seccomp filter answers before the kernel looks at them, with the errno of the filter's choice.

use std::{io, thread};

use anyhow::{Context as _, Result};
use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

/// Offsets in `struct seccomp_data` (`include/uapi/linux/seccomp.h`).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The architecture of a 32-bit call (`AUDIT_ARCH_I386`, `include/uapi/linux/audit.h`).
const I386: u32 = 0x4000_0003;

/// A system call in both word sizes: socketcall, one number for many calls, is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// bind
    Bind,
    /// listen
    Listen,
    /// connect
    Connect,
}

impl Call {
    /// The native number and i386's.
    fn numbers(self) -> [u32; 2] {
        let (native, compat) = match self {
            Self::Bind => (libc::SYS_bind, 361),
            Self::Connect => (libc::SYS_connect, 362),
            Self::Listen => (libc::SYS_listen, 363),
        };
        [u32::try_from(native).expect("call numbers are small"), compat]
    }
}

/// Runs `work` on a thread of its own whose every such call is answered with `errno`, in either word size.
///
/// # Errors
/// When the filter cannot be set, or `work` fails.
///
/// # Panics
/// Passes on a panic of `work`.
pub fn refusing<T: Send>(call: Call, errno: i32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            forbid(call, errno)?;
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Filters the calling thread for good.
fn forbid(call: Call, errno: i32) -> Result<()> {
    let [native, compat] = call.numbers();
    let errno = errno.cast_unsigned() & libc::SECCOMP_RET_DATA;
    let load = |offset| step(BPF_LD | BPF_W | BPF_ABS, [0, 0], offset);
    let answer = |value| step(BPF_RET | BPF_K, [0, 0], value);
    let equal = |value, yes, no| step(BPF_JMP | BPF_JEQ | BPF_K, [yes, no], value);
    let mut steps = [
        load(ARCHITECTURE),
        equal(I386, 0, 2),
        load(NUMBER),
        equal(compat, 2, 3),
        load(NUMBER),
        equal(native, 0, 1),
        answer(libc::SECCOMP_RET_ERRNO | errno),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let length = u16::try_from(steps.len()).context("length of the filter")?;
    let program = sock_fprog { len: length, filter: steps.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs().context("PR_SET_NO_NEW_PRIVS")?;
    // SAFETY: the program and its steps live through the call, which copies them.
    let outcome =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("PR_SET_SECCOMP") }
}

fn step(code: u32, [yes, no]: [u8; 2], value: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: yes, jf: no, k: value }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::{
        sockets::{self, Transport, result_name},
        ways::{Way, compat::Door},
    };

    #[test]
    fn the_calls_are_refused_on_that_thread_only() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for way in [Way::Call, Way::Compat(Door::Direct)] {
            let Some(mut caller) = way.open().expect("a way") else { continue };
            let socket = sockets::open(Transport::Tcp, address.ip()).expect("a socket");
            let caller = &mut caller;
            let inside = refusing(Call::Bind, libc::ENOTTY, || {
                Ok([caller.bind(&socket, address), caller.listen(&socket, 1)]
                    .map(|outcome| result_name(&outcome)))
            });
            assert_eq!(inside.expect("the filter"), ["ENOTTY", "success"], "{way:?}");
            let socket = sockets::open(Transport::Tcp, address.ip()).expect("a socket");
            caller.bind(&socket, address).expect("no filter here");
        }
    }
}
