//! Why the test group could not be opened, or not all of it, in sentences for an operator.

use std::{fmt, io, net::SocketAddr};

use reuse_model::endpoint::{Family, Transport};

use crate::owner::port::PortHolders;

/// What was asked of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making it
    Create,
    /// Setting its options
    Options,
    /// `bind`
    Bind,
    /// `listen`
    Listen,
    /// Asking for its address, cookie and inode number
    Inspect,
    /// Finding a way to it
    Route,
}

/// The test group cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Loopback has neither an IPv4 nor an IPv6 address
    NoLoopback,
    /// The port asked for is in use
    PortTaken {
        /// Which port table
        transport: Transport,
        /// What was asked for
        local: SocketAddr,
        /// Who has the port
        holders: PortHolders,
    },
    /// The system refused a step
    Socket {
        /// Which step
        step: Step,
        /// Of a socket of which protocol
        transport: Transport,
        /// Its address and port, port 0 for one of the kernel's choice
        local: SocketAddr,
        /// What the system said
        cause: io::Error,
    },
}

/// A family the test group goes without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degradation {
    /// The family
    pub family: Family,
    /// Why: what the system said
    pub reason: String,
}

/// Whether a refusal means that loopback does not carry the family: it is switched off, or the interface is down.
pub(super) fn is_absent_family(step: Step, cause: &io::Error) -> bool {
    let absent = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL, libc::ENETUNREACH];
    matches!(step, Step::Create | Step::Bind | Step::Route)
        && cause.raw_os_error().is_some_and(|errno| absent.contains(&errno))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create a socket for",
            Self::Options => "set socket options for",
            Self::Bind => "bind",
            Self::Listen => "listen on",
            Self::Inspect => "inspect the socket of",
            Self::Route => "find a route to",
        })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLoopback => f.write_str(
                "the test group needs a loopback interface and there is none in use: bring it up \
                 (`ip link set lo up`) or set --test-group.enable=false",
            ),
            Self::PortTaken { transport, local, holders } => write!(
                f,
                "the test group cannot have {} {local}, the port is taken by {holders}: choose another \
                 --test-group.port, or leave it out and the kernel chooses free ones",
                transport.as_str()
            ),
            Self::Socket { step, transport, local, cause } => {
                write!(f, "the test group cannot {step} {} {local}: {cause}", transport.as_str())?;
                f.write_str(match cause.raw_os_error() {
                    Some(libc::EACCES) => {
                        ": choose a --test-group.port of 1024 or more, or run with CAP_NET_BIND_SERVICE"
                    }
                    Some(libc::EMFILE | libc::ENFILE) => {
                        ": raise the limit of open files (LimitNOFILE=, ulimit -n)"
                    }
                    Some(libc::EADDRINUSE) => ": no free port is left in net.ipv4.ip_local_port_range",
                    _ => ": set --test-group.enable=false to run without it",
                })
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, address, remedy) = match self.family {
            Family::Ipv6 => ("IPv6", "::1", "set net.ipv6.conf.lo.disable_ipv6=0"),
            Family::Ipv4 | Family::Other => ("IPv4", "127.0.0.1", "run `ip addr add 127.0.0.1/8 dev lo`"),
        };
        write!(
            f,
            "no test group for {name}: {address} is not in use here ({}); {remedy} and start again to have one",
            self.reason
        )
    }
}
