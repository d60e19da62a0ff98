//! Why a call was refused, as far as the call alone tells: errno, phase and the state of the socket.
//!
//! The errno of each check and the order of the checks: `inet_bind`, `inet6_bind`, `inet_listen` and the
//! `get_port` functions of Linux 5.15 to 6.19.

mod errno;
mod remedy;
mod rule;
#[cfg(test)]
mod tests;

pub use errno::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL, ENODEV, EOPNOTSUPP, errno_name, result_name,
};
pub use rule::{Confidence, Rule};

use crate::{
    endpoint::Endpoint,
    event::{Call, Phase},
    socket::State,
};
use errno::{EBADF, EBUSY, EFAULT, ENOMEM, ENOTSOCK, EPERM};

/// The kernel's default of `net.ipv4.ip_unprivileged_port_start`.
pub const UNPRIVILEGED_PORT_START: u16 = 1024;

/// The reason of one refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that refused
    pub rule: Rule,
    /// How sure that is
    pub confidence: Confidence,
}

impl Refusal {
    /// Why `call` was refused; `None` where it succeeded, or where its socket is neither IPv4 nor IPv6: such calls
    /// are counted, not explained.
    ///
    /// `unprivileged_port_start` is the sysctl of that name in the socket's namespace.
    #[must_use]
    pub fn of(call: &Call, unprivileged_port_start: u16) -> Option<Self> {
        // Only these two mean that there is no socket; with any other errno a socket without facts is of a family
        // that is not traced.
        let no_socket = matches!(call.errno, EBADF | ENOTSOCK);
        if call.errno == 0 || (call.socket.is_none() && !no_socket) {
            return None;
        }
        let (rule, confidence) = match call.phase {
            Phase::Bind => bind(call, unprivileged_port_start),
            Phase::Listen => listen(call),
        };
        Some(Self { rule, confidence })
    }

    /// What to do about it: one or two sentences that name the address and port.
    #[must_use]
    pub fn remedy(&self, call: &Call) -> String {
        remedy::sentence(self.rule, call)
    }

    /// Value of the `result` label of `daemon_explained_total`.
    #[must_use]
    pub fn explained(&self) -> &'static str {
        if self.rule == Rule::Unknown { "unknown" } else { self.confidence.as_str() }
    }
}

impl Call {
    /// The address and port the call was about: for `bind` what was asked for, for `listen` what the socket is
    /// bound to. `None` where the kernel never got an address.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        match self.phase {
            Phase::Bind => self.requested,
            Phase::Listen => self.socket.as_ref().map(|socket| socket.local),
        }
    }

    /// Whether the kernel was to choose the port.
    #[must_use]
    pub fn wants_ephemeral_port(&self) -> bool {
        self.endpoint().is_some_and(|endpoint| endpoint.port == 0)
    }
}

fn bind(call: &Call, unprivileged_port_start: u16) -> (Rule, Confidence) {
    use Confidence::{BestEvidence, Exact};
    match call.errno {
        EADDRINUSE => in_use(call),
        EADDRNOTAVAIL => (Rule::AddressNotLocal, Exact),
        // A security module answers before the port is looked at, and the caller's capabilities are not in the event.
        EACCES if asks_privileged_port(call, unprivileged_port_start) => (Rule::PrivilegedPort, BestEvidence),
        EACCES => (Rule::SecurityModule, Exact),
        EINVAL if is_bound(call) => (Rule::AlreadyBound, Exact),
        EINVAL => (Rule::InvalidAddress, Exact),
        // A seccomp filter may answer EPERM too, without the call ever reaching the socket.
        EPERM => (Rule::CgroupProgram, BestEvidence),
        _ => either(call.errno),
    }
}

fn listen(call: &Call) -> (Rule, Confidence) {
    match call.errno {
        EADDRINUSE => in_use(call),
        EACCES => (Rule::SecurityModule, Confidence::Exact),
        EINVAL => (Rule::WrongState, Confidence::Exact),
        // No cgroup hook sees listen().
        EPERM => (Rule::Seccomp, Confidence::BestEvidence),
        _ => either(call.errno),
    }
}

fn either(errno: i32) -> (Rule, Confidence) {
    match errno {
        ENOMEM | EBUSY => (Rule::KernelResource, Confidence::Exact),
        ENODEV => (Rule::DeviceGone, Confidence::Exact),
        EAFNOSUPPORT | EOPNOTSUPP => (Rule::Unsupported, Confidence::Exact),
        EFAULT | EBADF | ENOTSOCK => (Rule::BadArguments, Confidence::Exact),
        _ => (Rule::Unknown, Confidence::BestEvidence),
    }
}

fn in_use(call: &Call) -> (Rule, Confidence) {
    if call.wants_ephemeral_port() {
        (Rule::EphemeralPortsExhausted, Confidence::Exact)
    } else {
        // Which holder refused is not in the event.
        (Rule::Unknown, Confidence::BestEvidence)
    }
}

fn asks_privileged_port(call: &Call, unprivileged_port_start: u16) -> bool {
    call.requested.is_some_and(|asked| asked.port != 0 && asked.port < unprivileged_port_start)
}

fn is_bound(call: &Call) -> bool {
    call.socket.as_ref().is_some_and(|socket| socket.local.port != 0 || socket.state != State::Bound)
}
