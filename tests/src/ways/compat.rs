//! 32-bit system calls from this 64-bit process, by the interrupt that 32-bit programs use: numbers and arguments are those
//! of i386 (`arch/x86/entry/syscalls/syscall_32.tbl`), whatever the caller's own word size.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsRawFd as _,
    ptr::{self, NonNull},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use socket2::{SockAddr, Socket};

const GETPID: u32 = 20;
const SOCKETCALL: u32 = 102;
/// The first number is of the system call, the second that of socketcall for the same
/// (`include/uapi/linux/net.h`).
const BIND: [u32; 2] = [361, 2];
const CONNECT: [u32; 2] = [362, 3];
const LISTEN: [u32; 2] = [363, 4];

/// Room for arguments: an address, and the three words of a socketcall.
const PAGE: usize = 4096;
/// Where in the page the words of a socketcall lie, behind any address.
const WORDS: usize = 256;

/// Which of i386's two system calls for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The one of its own: bind, connect, listen.
    Direct,
    /// socketcall, the only one before Linux 4.3.
    Socketcall,
}

/// Whether this kernel takes 32-bit system calls: a kernel without them ends the process that tries, so a child does.
///
/// # Errors
/// When no child can be made.
pub fn available() -> Result<bool> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(false);
    }
    // SAFETY: the child makes only system calls, which are safe after a fork of a threaded process.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Parent { child } => match waitpid(child, None).context("waiting for the child")? {
            WaitStatus::Exited(_, 0) => Ok(true),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => Ok(false),
            other => bail!("the child: {other:?}"),
        },
        ForkResult::Child => {
            // SAFETY: getpid has no arguments; a signal that ends the child is the answer sought.
            unsafe {
                let status = i32::from(interrupt(GETPID, [0; 3]) <= 0);
                libc::_exit(status)
            }
        }
    }
}

/// Makes calls one after the other; has the memory for their arguments, which must lie below 4 GiB.
#[derive(Debug)]
pub struct Caller {
    door: Door,
    page: NonNull<u8>,
}

// SAFETY: the page is the value's own and has nothing of a thread.
unsafe impl Send for Caller {}

impl Caller {
    /// Maps the page for arguments.
    ///
    /// # Errors
    /// When there is no memory below 4 GiB.
    pub fn new(door: Door) -> Result<Self> {
        #[cfg(target_arch = "x86_64")]
        let low = libc::MAP_32BIT;
        #[cfg(not(target_arch = "x86_64"))]
        let low = 0;
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing that exists.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | low,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("a page below 4 GiB");
        }
        Ok(Self { door, page: NonNull::new(page.cast()).context("a page at address 0")? })
    }

    /// Binds the socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bind(&mut self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        self.with_address(BIND, socket, address)
    }

    /// Connects the socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn connect(&mut self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        self.with_address(CONNECT, socket, address)
    }

    /// Makes the socket listen.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listen(&mut self, socket: &Socket, backlog: i32) -> io::Result<()> {
        self.call(LISTEN, [socket.as_raw_fd().cast_unsigned(), backlog.cast_unsigned(), 0])
    }

    fn with_address(&mut self, numbers: [u32; 2], socket: &Socket, address: SocketAddr) -> io::Result<()> {
        let address = SockAddr::from(address);
        // SAFETY: an address is shorter than what lies before the words, and the page is this value's own. The layout of
        // `sockaddr_in` and `sockaddr_in6` is the same in both word sizes.
        unsafe {
            ptr::copy_nonoverlapping(address.as_ptr().cast(), self.page.as_ptr(), address.len() as usize);
        }
        let at = self.low(0)?;
        self.call(numbers, [socket.as_raw_fd().cast_unsigned(), at, address.len()])
    }

    fn call(&mut self, [direct, by_socketcall]: [u32; 2], arguments: [u32; 3]) -> io::Result<()> {
        let result = match self.door {
            // SAFETY: the kernel only reads, and what it reads is in the page.
            Door::Direct => unsafe { interrupt(direct, arguments) },
            Door::Socketcall => {
                let words = self.low(WORDS)?;
                // SAFETY: three words fit behind `WORDS`, which is a multiple of their alignment; then as above.
                unsafe {
                    self.page.as_ptr().add(WORDS).cast::<[u32; 3]>().write(arguments);
                    interrupt(SOCKETCALL, [by_socketcall, words, 0])
                }
            }
        };
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
    }

    fn low(&self, offset: usize) -> io::Result<u32> {
        u32::try_from(self.page.as_ptr().addr() + offset).map_err(io::Error::other)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nothing refers to it any more.
        if unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) } != 0 {
            eprintln!("a page stays mapped: {}", io::Error::last_os_error());
        }
    }
}

/// The interrupt 32-bit programs call the kernel by: the result, negative an errno.
///
/// # Safety
/// As the system call's own; arguments that are addresses must be valid.
#[cfg(target_arch = "x86_64")]
unsafe fn interrupt(number: u32, [first, second, third]: [u32; 3]) -> i32 {
    let result: u32;
    // SAFETY: the kernel changes only the result's register, and r8 to r11 in some versions. rbx, which the compiler does
    // not give away, is put back at once.
    unsafe {
        std::arch::asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) u64::from(first) => _,
            inlateout("eax") number => result,
            in("ecx") second,
            in("edx") third,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
            options(nostack),
        );
    }
    result.cast_signed()
}

/// Other architectures have no such calls from 64-bit code.
///
/// # Safety
/// None is needed.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn interrupt(_number: u32, _arguments: [u32; 3]) -> i32 {
    -libc::ENOSYS
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::sockets::{self, Transport, result_name};

    #[test]
    fn both_doors_bind_listen_and_connect_as_the_system_calls_do() {
        if !available().expect("a child") {
            crate::skip::skip("this kernel takes no 32-bit system calls");
            return;
        }
        for door in [Door::Direct, Door::Socketcall] {
            let mut caller = Caller::new(door).expect("a page");
            for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                let [first, second] = [(); 2].map(|()| sockets::open(Transport::Tcp, ip).expect("a socket"));
                caller.bind(&first, SocketAddr::new(ip, 0)).expect("bind");
                let address = sockets::local_address(&first).expect("bound");
                assert_ne!(address.port(), 0);
                caller.listen(&first, 8).expect("listen");
                assert_eq!(result_name(&caller.bind(&second, address)), "EADDRINUSE", "{door:?} {ip}");
                caller.connect(&second, address).expect("connect");
                first.accept().expect("the connection");
            }
        }
    }
}
