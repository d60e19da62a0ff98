//! The contender of a call, and what it has in common with a socket on the port.

use super::{Contender, Kernel};
use crate::{
    endpoint::{Family, Transport},
    event::{Call, Evidence},
    port::{Occupant, Reuse, Tenure},
    socket::State,
};

impl Contender {
    /// The contender of a call that asked for an address; `None` where there was no such address, or its family is not
    /// the socket's.
    ///
    /// Without evidence the options are those that `getsockopt` tells, and the socket is in no group.
    #[must_use]
    pub fn of(call: &Call, evidence: Option<&Evidence>) -> Option<Self> {
        let socket = call.socket.as_ref()?;
        let address = call.endpoint()?.address;
        let same_family = match socket.family {
            Family::Ipv4 => address.is_ipv4(),
            Family::Ipv6 => address.is_ipv6(),
            Family::Other => false,
        };
        let reuse = if socket.flags.reuseaddr { Reuse::Yes } else { Reuse::No };
        same_family.then_some(Self {
            transport: socket.protocol.transport()?,
            family: socket.family,
            address,
            reuse: evidence.map_or(reuse, |seen| seen.reuse),
            reuseport: socket.flags.reuseport,
            v6only: socket.flags.v6only,
            device: socket.device.as_ref().map_or(0, |device| device.index),
            uid: evidence.and_then(|seen| seen.subflow_uid).unwrap_or(socket.uid),
            in_group: evidence.is_some_and(|seen| seen.in_group),
            group_has_closed: evidence.is_some_and(|seen| seen.group_has_closed),
        })
    }

    /// Whether the group it is in, if any, keeps it from sharing by SO_REUSEPORT (TCP: `reuseport_cb_ok` of
    /// `inet_csk_bind_conflict`; UDP: `sk_reuseport_cb` of `udp_lib_lport_inuse`).
    pub(super) fn group_forbids(&self) -> bool {
        match self.transport {
            Transport::Tcp => self.in_group && !self.group_has_closed,
            Transport::Udp => self.in_group,
        }
    }

    /// Whether both may meet on a device.
    pub(super) fn shares_device(&self, occupant: &Occupant) -> bool {
        self.device == 0 || occupant.device == 0 || self.device == occupant.device
    }

    /// Whether the kernel finds the same uid on both; it does not look where the other is TIME_WAIT.
    pub(super) fn same_uid(&self, kernel: &Kernel, occupant: &Occupant) -> bool {
        occupant.state == State::TimeWait || uid_of(kernel, occupant) == Some(self.uid)
    }
}

/// The uid the kernel compares.
pub(super) fn uid_of(kernel: &Kernel, occupant: &Occupant) -> Option<u32> {
    let ownerless = occupant.tenure != Tenure::Held;
    if kernel.ownerless_uid_is_root && ownerless { Some(0) } else { occupant.uid }
}
