//! Conflicts over a port, by who wanted it and who had it, in a bounded number of label sets.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use crate::{
    conflict::{Conflict, Held},
    endpoint::Protocol,
    event::Moment,
    refusal::Rule,
};

/// What a label says once no new value can be kept apart.
pub const OTHER: &str = "other";

/// What the `holder` label says where it is not known who has the holder.
pub const HOLDER_UNKNOWN: &str = "unknown";

/// The `port` label of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortLabel {
    /// As asked for
    Number(u16),
    /// The kernel was to choose
    Ephemeral,
    /// Folded
    Other,
}

/// Labels of `port_conflicts_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConflictKey {
    /// Protocol of the contender
    pub protocol: Protocol,
    /// Address as asked for, `None` where folded to [`OTHER`]
    pub address: Option<IpAddr>,
    /// Port
    pub port: PortLabel,
    /// The rule that refused
    pub rule: Rule,
    /// Service that asked
    pub contender: Arc<str>,
    /// Service that holds the port
    pub holder: Arc<str>,
}

/// How often and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConflictTally {
    /// Refusals
    pub count: u64,
    /// Return of the last refused call
    pub last: Moment,
}

/// `port_conflicts_total` with its last moments.
#[derive(Debug)]
pub struct Conflicts {
    tallies: HashMap<ConflictKey, ConflictTally>,
    max: usize,
    folded: u64,
    other: Arc<str>,
    holder_unknown: Arc<str>,
}

impl Conflicts {
    pub(super) fn new(max: usize) -> Self {
        Self {
            tallies: HashMap::new(),
            max,
            folded: 0,
            other: Arc::from(OTHER),
            holder_unknown: Arc::from(HOLDER_UNKNOWN),
        }
    }

    /// Counts a refusal by a holder.
    pub(super) fn count(&mut self, conflict: &Conflict, holder: &Held) {
        let call = &conflict.call;
        let Some(endpoint) = call.endpoint() else { return };
        let port = if endpoint.port == 0 { PortLabel::Ephemeral } else { PortLabel::Number(endpoint.port) };
        let key = ConflictKey {
            protocol: call.protocol(),
            address: Some(endpoint.address),
            port,
            rule: conflict.refusal.rule,
            contender: Arc::clone(&conflict.process.service),
            holder: holder.label().unwrap_or_else(|| Arc::clone(&self.holder_unknown)),
        };
        let key = if self.tallies.len() < self.max || self.tallies.contains_key(&key) {
            key
        } else {
            self.folded += 1;
            self.folded_key(&key)
        };
        let tally = self.tallies.entry(key).or_insert(ConflictTally { count: 0, last: call.at });
        tally.count += 1;
        tally.last = tally.last.max(call.at);
    }

    /// Every label set, in no order; at most the cap and one folded set for each protocol and rule.
    pub fn iter(&self) -> impl Iterator<Item = (&ConflictKey, &ConflictTally)> {
        self.tallies.iter()
    }

    /// Refusals whose labels were folded to [`OTHER`].
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded
    }

    fn folded_key(&self, key: &ConflictKey) -> ConflictKey {
        ConflictKey {
            protocol: key.protocol,
            address: None,
            port: PortLabel::Other,
            rule: key.rule,
            contender: Arc::clone(&self.other),
            holder: Arc::clone(&self.other),
        }
    }
}
