//! In what a call was refused: the words of the interface.

use serde::{Deserialize, Serialize};

use super::EADDRINUSE;
use crate::event::{Call, Phase};

/// In what a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusedPhase {
    /// `bind()`
    Bind,
    /// `listen()`
    Listen,
    /// The bind that `connect()` does by itself on a socket without a port, or the choice of a pair of addresses
    Connect,
    /// The bind that `listen()` or `sendto()` does by itself on a socket without a port
    /// (net/ipv4/inet_connection_sock.c, `inet_csk_listen_start`; net/ipv4/af_inet.c, `inet_autobind`)
    Autobind,
}

impl RefusedPhase {
    /// Of a refused call. A `listen` that found its socket without a port and leaves it so failed for want of one.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        match call.phase {
            Phase::Bind => Self::Bind,
            Phase::Listen if call.errno == EADDRINUSE && call.wants_ephemeral_port() => Self::Autobind,
            Phase::Listen => Self::Listen,
            Phase::Connect => Self::Connect,
            Phase::Send => Self::Autobind,
        }
    }

    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Connect => "connect",
            Self::Autobind => "autobind",
        }
    }
}
