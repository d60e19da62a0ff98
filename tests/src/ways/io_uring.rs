//! Requests on an `io_uring`: BIND and LISTEN (opcodes 56 and 57 of `include/uapi/linux/io_uring.h`, absent in Linux 6.1,
//! present in 6.12) and CONNECT, executed in each of the contexts the kernel has for them.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsRawFd as _, BorrowedFd, RawFd},
};

use ::io_uring::{
    IoUring, Probe, opcode,
    squeue::{Entry, Flags},
    types::{Fd, Fixed},
};
use anyhow::{Context as _, Result};
use socket2::{SockAddr, Socket};

/// Entries of a ring: one request, perhaps one linked to it, and the mark behind a silent one.
const ENTRIES: u32 = 4;
/// Milliseconds until the kernel's thread of a polled ring sleeps; the next request wakes it.
const POLL_IDLE: u32 = 50;
/// `user_data` of the request whose answer is wanted, of the one linked to it, and of the mark behind a silent one.
const FIRST: u64 = 1;
const SECOND: u64 = 2;
const MARK: u64 = 3;

/// Where the kernel executes a request, and what it says afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// In the system call that submits it.
    Plain,
    /// In a worker thread of the process (`IOSQE_ASYNC`), which the kernel calls `iou-wrk-PID`.
    Worker,
    /// In the thread that polls the ring (`IORING_SETUP_SQPOLL`), which the kernel calls `iou-sqp-PID`; no system call
    /// submits it.
    Polled,
    /// As plain, but nothing is posted for a success (`IOSQE_CQE_SKIP_SUCCESS`).
    Silent,
    /// As plain, on a socket that the ring knows by its place in a table, not by a descriptor (`IOSQE_FIXED_FILE`).
    Registered,
}

/// Whether this kernel's `io_uring` has BIND and LISTEN (`IORING_REGISTER_PROBE`). Where it hasn't, requests for them are
/// answered EINVAL.
///
/// # Errors
/// When a ring cannot be made: `io_uring` is switched off, or this user may not.
pub fn available() -> Result<bool> {
    let ring = IoUring::new(ENTRIES).context("a ring (see the sysctl kernel.io_uring_disabled)")?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).context("IORING_REGISTER_PROBE")?;
    Ok(probe.is_supported(opcode::Bind::CODE) && probe.is_supported(opcode::Listen::CODE))
}

/// A ring on which requests are made one at a time.
pub struct Ring {
    ring: IoUring,
    style: Style,
}

impl fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ring").field("style", &self.style).finish_non_exhaustive()
    }
}

/// What a request is about.
enum Target {
    Descriptor(RawFd),
    /// Place in the ring's table of files
    Place(u32),
}

impl Ring {
    /// Makes a ring, whose requests have the credentials of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(style: Style) -> Result<Self> {
        let mut builder = IoUring::builder();
        if style == Style::Polled {
            builder.setup_sqpoll(POLL_IDLE);
        }
        let ring: IoUring = builder.build(ENTRIES).with_context(|| format!("a ring, {style:?}"))?;
        if style == Style::Registered {
            ring.submitter().register_files(&[-1]).context("a table of one file")?;
        }
        Ok(Self { ring, style })
    }

    /// Binds the socket (BIND).
    ///
    /// # Errors
    /// The kernel's: EINVAL where there is no such request.
    pub fn bind(&mut self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        let address = SockAddr::from(address);
        let target = self.target(socket)?;
        self.one(bind_entry(&target, &address))
    }

    /// Makes the socket listen (LISTEN).
    ///
    /// # Errors
    /// The kernel's: EINVAL where there is no such request.
    pub fn listen(&mut self, socket: &Socket, backlog: i32) -> io::Result<()> {
        let target = self.target(socket)?;
        self.one(listen_entry(&target, backlog))
    }

    /// Connects the socket (CONNECT).
    ///
    /// # Errors
    /// The kernel's.
    pub fn connect(&mut self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        let address = SockAddr::from(address);
        let (pointer, length) = (address.as_ptr().cast(), address.len());
        let entry = match self.target(socket)? {
            Target::Descriptor(fd) => opcode::Connect::new(Fd(fd), pointer, length).build(),
            Target::Place(place) => opcode::Connect::new(Fixed(place), pointer, length).build(),
        };
        self.one(entry)
    }

    /// Submits BIND and, linked to it (`IOSQE_IO_LINK`), LISTEN: the answer to each. When the first fails the kernel does
    /// not begin the second and answers it ECANCELED. A silent ring posts nothing for that one.
    ///
    /// # Errors
    /// When the requests cannot be submitted.
    pub fn bind_and_listen(
        &mut self,
        socket: &Socket,
        address: SocketAddr,
        backlog: i32,
    ) -> io::Result<[io::Result<()>; 2]> {
        let address = SockAddr::from(address);
        let target = self.target(socket)?;
        let bind = bind_entry(&target, &address).user_data(FIRST).flags(Flags::IO_LINK);
        let listen = listen_entry(&target, backlog).user_data(SECOND);
        // SAFETY: `address` lives until `submit` has returned, which waits for both answers.
        let answers = unsafe { self.submit(&[bind, listen], 2) }?;
        let answer = |of: u64| {
            let result =
                answers.iter().find(|(user_data, _)| *user_data == of).map_or(0, |(_, result)| *result);
            outcome(result)
        };
        Ok([answer(FIRST), answer(SECOND)])
    }

    /// Submits BIND linked to the wait for a descriptor to become readable, then does `meanwhile` over and over until the
    /// bind is answered. The kernel executes it at the end of whatever call this thread is in when the wait is over.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bind_once_readable(
        &mut self,
        awaited: BorrowedFd<'_>,
        socket: &Socket,
        address: SocketAddr,
        mut meanwhile: impl FnMut(),
    ) -> io::Result<()> {
        let address = SockAddr::from(address);
        let target = self.target(socket)?;
        let wait = opcode::PollAdd::new(Fd(awaited.as_raw_fd()), libc::POLLIN as u32).build();
        let entries = [wait.flags(Flags::IO_LINK), bind_entry(&target, &address).user_data(FIRST)];
        // SAFETY: `address` lives until this returns, which is after the answer.
        unsafe { self.ring.submission().push_multiple(&entries) }.map_err(io::Error::other)?;
        self.ring.submit()?;
        loop {
            meanwhile();
            let answer = self.ring.completion().find(|entry| entry.user_data() == FIRST);
            if let Some(answer) = answer {
                return outcome(answer.result());
            }
        }
    }

    fn target(&self, socket: &Socket) -> io::Result<Target> {
        if self.style != Style::Registered {
            return Ok(Target::Descriptor(socket.as_raw_fd()));
        }
        self.ring.submitter().register_files_update(0, &[socket.as_raw_fd()])?;
        Ok(Target::Place(0))
    }

    fn one(&mut self, entry: Entry) -> io::Result<()> {
        // SAFETY: the callers keep the address the entry points to until this has returned, which is after the answer.
        let answers = unsafe { self.submit(&[entry.user_data(FIRST)], 1) }?;
        answers.first().map_or(Ok(()), |(_, result)| outcome(*result))
    }

    /// Submits the entries in this ring's style, and gives `user_data` and result of what is posted for them: as many as
    /// `expected`, in a silent ring perhaps fewer.
    ///
    /// # Safety
    /// What the entries point to must be valid until this returns.
    unsafe fn submit(&mut self, entries: &[Entry], expected: usize) -> io::Result<Vec<(u64, i32)>> {
        let flags = match self.style {
            Style::Plain | Style::Polled | Style::Registered => Flags::empty(),
            Style::Worker => Flags::ASYNC,
            Style::Silent => Flags::SKIP_SUCCESS,
        };
        let mut all: Vec<Entry> = entries.iter().map(|entry| entry.clone().flags(flags)).collect();
        // A silent success shows only in that what was submitted behind it is done: neither request ever waits.
        let silent = self.style == Style::Silent;
        if silent {
            all.push(opcode::Nop::new().build().user_data(MARK));
        }
        // SAFETY: by this function's own contract.
        unsafe { self.ring.submission().push_multiple(&all) }.map_err(io::Error::other)?;
        let mut answers = Vec::new();
        loop {
            let marked = answers.iter().any(|(user_data, _)| *user_data == MARK);
            if if silent { marked } else { answers.len() == expected } {
                answers.retain(|(user_data, _)| *user_data != MARK);
                return Ok(answers);
            }
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => drop(outcome?),
            }
            answers.extend(self.ring.completion().map(|entry| (entry.user_data(), entry.result())));
        }
    }
}

fn bind_entry(target: &Target, address: &SockAddr) -> Entry {
    let (pointer, length) = (address.as_ptr().cast(), address.len());
    match target {
        Target::Descriptor(fd) => opcode::Bind::new(Fd(*fd), pointer, length).build(),
        Target::Place(place) => opcode::Bind::new(Fixed(*place), pointer, length).build(),
    }
}

fn listen_entry(target: &Target, backlog: i32) -> Entry {
    match target {
        Target::Descriptor(fd) => opcode::Listen::new(Fd(*fd), backlog).build(),
        Target::Place(place) => opcode::Listen::new(Fixed(*place), backlog).build(),
    }
}

fn outcome(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::sockets::{self, Transport, result_name};

    #[test]
    fn every_style_binds_and_listens_as_the_system_calls_do() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        if !available().expect("a ring") {
            let socket = sockets::open(Transport::Tcp, any.ip()).expect("a socket");
            let mut ring = Ring::new(Style::Plain).expect("a ring");
            assert_eq!(result_name(&ring.bind(&socket, any)), "EINVAL");
            crate::skip::skip("this kernel's io_uring has no BIND and LISTEN");
            return;
        }
        for style in [Style::Plain, Style::Worker, Style::Polled, Style::Silent, Style::Registered] {
            let mut ring = Ring::new(style).expect("a ring");
            let [first, second, third] =
                [(); 3].map(|()| sockets::open(Transport::Tcp, any.ip()).expect("a socket"));
            ring.bind(&first, any).unwrap_or_else(|error| panic!("{style:?}: bind: {error}"));
            let address = sockets::local_address(&first).expect("bound");
            assert_ne!(address.port(), 0, "{style:?}");
            ring.listen(&first, 8).unwrap_or_else(|error| panic!("{style:?}: listen: {error}"));
            assert_eq!(result_name(&ring.bind(&second, address)), "EADDRINUSE", "{style:?}");
            ring.connect(&second, address).unwrap_or_else(|error| panic!("{style:?}: connect: {error}"));
            first.accept().expect("the connection");

            let linked = ring.bind_and_listen(&third, any, 8).expect("submitted");
            assert_eq!(linked.map(|answer| result_name(&answer)), ["success", "success"], "{style:?}");
            let linked = ring.bind_and_listen(&third, any, 8).expect("submitted");
            let second_answer = if style == Style::Silent { "success" } else { "ECANCELED" };
            assert_eq!(linked.map(|answer| result_name(&answer)), ["EINVAL", second_answer], "{style:?}");
        }
    }
}
