//! Why a call was refused: by which rule, by whom, and what to do about it.
//!
//! The errno of each check and the order of the checks: `inet_bind`, `inet6_bind`, `inet_listen` and the
//! `get_port` functions of Linux 5.15 to 6.19.

mod cause;
mod errno;
mod in_use;
mod phase;
mod remedy;
mod rule;
#[cfg(test)]
mod tests;

pub use errno::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EPERM,
    errno_name, result_name,
};
pub use phase::RefusedPhase;
pub use rule::{Confidence, Rule};

use crate::{
    endpoint::Endpoint,
    event::{Call, Phase},
    port::Occupant,
    rulebook::{Kernel, Overlap},
};
use errno::{EBADF, ENOTSOCK};

/// The kernel's default of `net.ipv4.ip_unprivileged_port_start`.
pub const UNPRIVILEGED_PORT_START: u16 = 1024;

/// A socket that refused, or would have refused alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The socket
    pub occupant: Occupant,
    /// Why
    pub rule: Rule,
    /// How its address meets the contender's
    pub overlap: Overlap,
}

/// The reason of one refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that refused
    pub rule: Rule,
    /// How sure rule and holders are
    pub confidence: Confidence,
    /// TCP: every blocking socket. UDP: every overlapping one that would refuse alone, in scan order, the deciding one
    /// first. Empty where no socket refused
    pub holders: Vec<Holder>,
    /// UDP: place in `holders` of the socket that decided
    pub decided_by: Option<usize>,
    /// There are more sockets on the port than were read
    pub truncated: bool,
    /// What to do: one sentence for each rule among the holders, all of which are needed; without holders one for the rule
    pub remedies: Vec<String>,
}

/// What is known of a port besides what was read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Sockets that were on it before the call and are still
    pub live: Vec<Occupant>,
    /// Sockets that were closed about when the call returned, the likeliest to have been in the way first
    pub closed: Vec<Occupant>,
}

impl Refusal {
    /// Why `call` was refused; `None` where it succeeded, or where its socket is neither IPv4 nor IPv6: such calls
    /// are counted, not explained.
    ///
    /// `remembered` gives what is known of the port the call asked for; it is asked only where what was read at the refusal
    /// does not explain it.
    #[must_use]
    pub fn of(call: &Call, kernel: &Kernel, remembered: impl FnOnce() -> Remembered) -> Option<Self> {
        // Only these two mean that there is no socket; with any other errno a socket without facts is of a family
        // that is not traced.
        let no_socket = matches!(call.errno, EBADF | ENOTSOCK);
        if call.errno == 0 || (call.socket.is_none() && !no_socket) {
            return None;
        }
        let explicit = matches!(call.phase, Phase::Bind | Phase::Listen);
        let refusal = if explicit && call.errno == EADDRINUSE && !call.wants_ephemeral_port() {
            in_use::refusal(call, kernel, remembered)
        } else {
            let (rule, confidence) = cause::of(call, kernel);
            Self::without_holder(call, rule, if call.certain { confidence } else { Confidence::BestEvidence })
        };
        let confidence = if call.certain { refusal.confidence } else { Confidence::BestEvidence };
        Some(Self { confidence, ..refusal })
    }

    fn without_holder(call: &Call, rule: Rule, confidence: Confidence) -> Self {
        Self {
            rule,
            confidence,
            holders: Vec::new(),
            decided_by: None,
            truncated: false,
            remedies: vec![remedy::sentence(rule, confidence, call)],
        }
    }

    /// What to do about it, in sentences.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.remedies.join(" ")
    }

    /// Value of the `result` label of `daemon_explained_total`.
    #[must_use]
    pub fn explained(&self) -> &'static str {
        if self.rule == Rule::Unknown { "unknown" } else { self.confidence.as_str() }
    }
}

impl Call {
    /// The address and port the call was about: for `bind` what was asked for, for the others what the socket is
    /// bound to. `None` where the kernel never got an address.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        match self.phase {
            Phase::Bind => self.requested,
            Phase::Listen | Phase::Connect | Phase::Send => self.socket.as_ref().map(|socket| socket.local),
        }
    }

    /// Whether the kernel was to choose the port.
    #[must_use]
    pub fn wants_ephemeral_port(&self) -> bool {
        self.endpoint().is_some_and(|endpoint| endpoint.port == 0)
    }
}
