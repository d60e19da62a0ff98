//! One worker: waits, accepts one connection, closes it, waits again, as a server does that takes its turn.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::Context as _;
use reuse_model::claim::Waiting;
use socket2::Socket;

/// A worker that has not begun.
pub(super) struct Worker {
    listener: Socket,
    /// What it waits on; `None`: in accept() itself
    epoll: Option<OwnedFd>,
}

impl Worker {
    /// Of this listener, which it may share with others.
    pub(super) fn new(listener: &Socket, waiting: Waiting) -> anyhow::Result<Self> {
        let flags = match waiting {
            Waiting::SharedAccept => None,
            Waiting::SharedEpoll | Waiting::Reuseport => Some(libc::EPOLLIN),
            Waiting::SharedEpollExclusive => Some(libc::EPOLLIN | libc::EPOLLEXCLUSIVE),
        };
        let listener = listener.try_clone().context("cannot hand a listener to a worker")?;
        let watch = |flags: i32| {
            listener.set_nonblocking(true)?;
            watch(&listener, flags)
        };
        let epoll = flags.map(watch).transpose().context("cannot watch a listener with epoll")?;
        Ok(Self { listener, epoll })
    }

    /// Accepts until the listener is shut down; how many.
    pub(super) fn work(&self, total: &AtomicU64) -> io::Result<u64> {
        let mut count = 0;
        loop {
            if let Some(epoll) = &self.epoll {
                wait(epoll)?;
            }
            match self.listener.accept() {
                Ok(_) => {
                    count += 1;
                    total.fetch_add(1, Relaxed);
                }
                // Another worker was faster, or the client was.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EAGAIN | libc::EINTR | libc::ECONNABORTED)
                    ) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(count),
                Err(error) => return Err(error),
            }
        }
    }
}

fn watch(listener: &Socket, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no memory of ours.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is nobody else's.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    let mut event = libc::epoll_event { events: flags.cast_unsigned(), u64: 0 };
    // SAFETY: the kernel reads the event before it returns.
    let added = unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, listener.as_raw_fd(), &raw mut event)
    };
    if added != 0 { Err(io::Error::last_os_error()) } else { Ok(epoll) }
}

fn wait(epoll: &OwnedFd) -> io::Result<()> {
    const FOREVER: i32 = -1;
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for the one event that is asked for.
    let ready = unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, FOREVER) };
    match ready {
        -1 if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted => {
            Err(io::Error::last_os_error())
        }
        _ => Ok(()),
    }
}
