//! A refused call with everyone behind it: the contender, each holder with its owners, the rule and the remedy.

use std::sync::Arc;

use crate::{
    endpoint::{Endpoint, Protocol},
    event::{Call, Moment},
    inventory::Owner,
    process::Process,
    refusal::{Holder, Refusal},
    repeats::Kind,
    socket::NetNs,
};

/// Who has a holder, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Possession {
    /// The processes that had it open at the refusal
    pub owners: Vec<Owner>,
    /// Where no process can have it: who had the socket it came from
    pub former: Vec<Owner>,
    /// When it was bound, where that was seen
    pub since: Option<Moment>,
    /// The protocol its owner asked for, where that is known: the port is held by MPTCP's TCP subflow
    pub protocol: Option<Protocol>,
    /// Name of its device, where that is known
    pub device: Option<Arc<str>>,
}

/// A holder and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The socket, and why it was in the way
    pub holder: Holder,
    /// Who has it
    pub possession: Possession,
}

/// A refused call, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The call
    pub call: Call,
    /// Who made it
    pub process: Arc<Process>,
    /// Why it was refused; its holders are in `holders`
    pub refusal: Refusal,
    /// The holders of the refusal, in its order
    pub holders: Vec<Held>,
}

/// What the `holder` label says where no process has the deciding holder.
const LABEL_TIME_WAIT: &str = "time_wait";
const LABEL_CLOSING: &str = "closing";
const LABEL_KERNEL: &str = "kernel";

impl Conflict {
    /// Joins a refusal with who has its holders: one possession for each of them, in order.
    #[must_use]
    pub fn new(
        call: Call,
        process: Arc<Process>,
        mut refusal: Refusal,
        possessions: impl IntoIterator<Item = Possession>,
    ) -> Self {
        let holders = std::mem::take(&mut refusal.holders)
            .into_iter()
            .zip(possessions.into_iter().chain(std::iter::repeat_with(Possession::default)))
            .map(|(holder, possession)| Held { holder, possession })
            .collect();
        // What it says is in the holders now; a port may be long, and conflicts are kept.
        Self { call: Call { evidence: None, ..call }, process, refusal, holders }
    }

    /// The holder that decided, or the first one that the event's rule names.
    #[must_use]
    pub fn principal(&self) -> Option<&Held> {
        let decided = self.refusal.decided_by.and_then(|place| self.holders.get(place));
        decided.or_else(|| self.holders.iter().find(|held| held.holder.rule == self.refusal.rule))
    }

    /// UDP: the deciding holder's inode number, its cookie where it has none.
    #[must_use]
    pub fn decided_by(&self) -> Option<u64> {
        let decided = self.holders.get(self.refusal.decided_by?)?;
        let occupant = &decided.holder.occupant;
        Some(if occupant.inode.0 == 0 { occupant.cookie.0 } else { occupant.inode.0 })
    }

    /// What makes it the same as others to a reader.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind {
            service: Arc::clone(&self.process.service),
            protocol: self.call.protocol(),
            endpoint: self.call.endpoint(),
            rule: self.refusal.rule,
        }
    }

    /// Where the port is: the contender's namespace, and what the call asked for.
    #[must_use]
    pub fn place(&self) -> Option<(NetNs, Endpoint)> {
        Some((self.call.socket.as_ref()?.netns, self.call.endpoint()?))
    }
}

impl Held {
    /// What the `holder` label says: the service of its first owner, else what it is.
    #[must_use]
    pub fn label(&self) -> Option<Arc<str>> {
        use crate::{port::Tenure, socket::State};
        let occupant = &self.holder.occupant;
        if let Some(owner) = self.possession.owners.first() {
            return Some(Arc::clone(&owner.process.service));
        }
        if occupant.state == State::TimeWait {
            return Some(Arc::from(LABEL_TIME_WAIT));
        }
        if occupant.kernel {
            return Some(Arc::from(LABEL_KERNEL));
        }
        match occupant.tenure {
            Tenure::Orphan => Some(Arc::from(LABEL_CLOSING)),
            // Nobody has accepted it: it is still its listener's.
            Tenure::Unaccepted => {
                self.possession.former.first().map(|owner| Arc::clone(&owner.process.service))
            }
            Tenure::Held => None,
        }
    }
}
