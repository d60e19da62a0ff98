//! Sockets with the options that a claim is about, and what became of a bind or listen, in words.

use std::{fmt, io, net::SocketAddrV4};

use anyhow::Context as _;
use nix::errno::Errno;
use reuse_model::endpoint::Transport;
use socket2::{Domain, Socket, Type};

use super::user::as_user;

/// A socket to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) transport: Transport,
    pub(super) reuseaddr: bool,
    pub(super) reuseport: bool,
    /// `None`: whoever this is
    pub(super) uid: Option<u32>,
}

/// TCP, no option set.
pub(super) const TCP: Spec =
    Spec { transport: Transport::Tcp, reuseaddr: false, reuseport: false, uid: None };
/// UDP, no option set.
pub(super) const UDP: Spec = Spec { transport: Transport::Udp, ..TCP };

impl Spec {
    pub(super) const fn reuseaddr(self) -> Self {
        Self { reuseaddr: true, ..self }
    }

    pub(super) const fn reuseport(self) -> Self {
        Self { reuseport: true, ..self }
    }

    pub(super) const fn of_user(self, uid: u32) -> Self {
        Self { uid: Some(uid), ..self }
    }

    /// The socket with its options, not bound.
    pub(super) fn open(&self) -> anyhow::Result<Socket> {
        match self.uid {
            Some(uid) => as_user(uid, || self.make()),
            None => self.make(),
        }
    }

    fn make(&self) -> anyhow::Result<Socket> {
        let kind = match self.transport {
            Transport::Tcp => Type::STREAM,
            Transport::Udp => Type::DGRAM,
        };
        let socket = Socket::new(Domain::IPV4, kind, None).context("cannot make a socket")?;
        if self.reuseaddr {
            socket.set_reuse_address(true).context("cannot set SO_REUSEADDR")?;
        }
        if self.reuseport {
            socket.set_reuse_port(true).context("cannot set SO_REUSEPORT")?;
        }
        Ok(socket)
    }

    /// Makes it and tries to bind it.
    ///
    /// # Errors
    /// The bind fails for another reason than that somebody has the port, or there is no socket.
    pub(super) fn bind(&self, at: SocketAddrV4) -> anyhow::Result<Bound> {
        let socket = self.open()?;
        let errno = refusal(socket.bind(&at.into())).with_context(|| format!("cannot bind {at}"))?;
        Ok(Bound { socket, spec: *self, at, errno })
    }

    /// Makes it and binds it: what others are to meet.
    pub(super) fn hold(&self, at: SocketAddrV4) -> anyhow::Result<Bound> {
        let bound = self.bind(at)?;
        match bound.errno {
            None => Ok(bound),
            Some(_) => anyhow::bail!("{bound}, though nothing here has that port"),
        }
    }
}

/// A socket that tried to bind.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: Socket,
    spec: Spec,
    at: SocketAddrV4,
    errno: Option<Errno>,
}

impl Bound {
    /// Whether it got the address.
    pub(super) fn succeeded(&self) -> bool {
        self.errno.is_none()
    }

    /// What became of it, in a word.
    pub(super) fn outcome(&self) -> impl fmt::Display {
        Outcome(self.errno)
    }

    /// Tries to listen: whether it does, and in words.
    ///
    /// # Errors
    /// As [`Spec::bind`].
    pub(super) fn listen(&self) -> anyhow::Result<(bool, String)> {
        let errno =
            refusal(self.socket.listen(16)).with_context(|| format!("cannot listen on {}", self.at))?;
        let text = format!("listen {}{}: {}", self.at, Options(self.spec), Outcome(errno));
        Ok((errno.is_none(), text))
    }
}

/// `bind tcp 127.0.0.1:20001 with SO_REUSEADDR by uid 65534: EADDRINUSE`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = self.spec.transport.as_str();
        write!(f, "bind {transport} {}{}: {}", self.at, Options(self.spec), Outcome(self.errno))
    }
}

/// ` with SO_REUSEADDR and SO_REUSEPORT by uid 65534`, or nothing.
pub(super) struct Options(pub(super) Spec);

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.0.reuseaddr, self.0.reuseport) {
            (false, false) => " without an option",
            (true, false) => " with SO_REUSEADDR",
            (false, true) => " with SO_REUSEPORT",
            (true, true) => " with SO_REUSEADDR and SO_REUSEPORT",
        })?;
        match self.0.uid {
            Some(uid) => write!(f, " by uid {uid}"),
            None => Ok(()),
        }
    }
}

struct Outcome(Option<Errno>);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("succeeds"),
            // The name is what its `Debug` gives.
            Some(errno) => write!(f, "{errno:?}"),
        }
    }
}

/// A refusal because somebody has the port; anything else is no answer to what is asked here.
pub(super) fn refusal(result: io::Result<()>) -> io::Result<Option<Errno>> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => Ok(Some(Errno::EADDRINUSE)),
        Err(error) => Err(error),
    }
}
