//! Sockets that stay open without a descriptor each: in flight over a Unix socket that nobody reads (unix(7),
//! SCM_RIGHTS). More than the limit of open files are allowed there to who has CAP_SYS_ADMIN (net/core/scm.c and
//! net/unix/, `too_many_unix_fds`).

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair,
    },
};
use socket2::Socket;

/// Most sockets that are sent at once: below SCM_MAX_FD (include/net/scm.h)
pub(super) const AT_ONCE: usize = 200;

/// The pairs of Unix sockets, the newest last.
#[derive(Debug, Default)]
pub(super) struct Parking(Vec<(OwnedFd, OwnedFd)>);

impl Parking {
    /// Keeps at most [`AT_ONCE`] sockets until this is dropped.
    ///
    /// # Errors
    /// The kernel allows no more.
    pub(super) fn park(&mut self, sockets: &[Socket]) -> io::Result<()> {
        let descriptors: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        if let Some((near, _)) = self.0.last()
            && send(near, &descriptors)?
        {
            return Ok(());
        }
        let pair = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC)?;
        let sent = send(&pair.0, &descriptors)?;
        self.0.push(pair);
        if sent { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

/// Whether there was room.
fn send(to: &OwnedFd, descriptors: &[i32]) -> io::Result<bool> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let sent =
        sendmsg::<UnixAddr>(to.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::MSG_DONTWAIT, None);
    match sent {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
