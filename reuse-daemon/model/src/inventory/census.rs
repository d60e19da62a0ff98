//! How many sockets there are of each protocol, family and state, without walking them.

use crate::{
    endpoint::{Family, Protocol},
    socket::{SocketFacts, State},
};

const PROTOCOLS: [Protocol; 4] = [Protocol::Tcp, Protocol::Udp, Protocol::Mptcp, Protocol::Other];
const FAMILIES: [Family; 3] = [Family::Ipv4, Family::Ipv6, Family::Other];
const STATES: [State; 5] = [State::Bound, State::Listen, State::Connected, State::Closing, State::TimeWait];

/// Sockets by protocol, family and state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census([[[u64; STATES.len()]; FAMILIES.len()]; PROTOCOLS.len()]);

impl Census {
    /// Every combination with its count, also those that are 0, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Protocol, Family, State, u64)> {
        PROTOCOLS.into_iter().flat_map(move |protocol| {
            FAMILIES.into_iter().flat_map(move |family| {
                STATES.into_iter().map(move |state| {
                    (protocol, family, state, self.0[protocol as usize][family as usize][state as usize])
                })
            })
        })
    }

    /// One socket more.
    pub(super) fn count(&mut self, facts: &SocketFacts) {
        *self.cell(facts) += 1;
    }

    /// One socket less.
    pub(super) fn discount(&mut self, facts: &SocketFacts) {
        let cell = self.cell(facts);
        *cell = cell.saturating_sub(1);
    }

    fn cell(&mut self, facts: &SocketFacts) -> &mut u64 {
        &mut self.0[facts.protocol as usize][facts.family as usize][facts.state as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_the_order_of_the_variants() {
        assert!(PROTOCOLS.iter().enumerate().all(|(index, protocol)| *protocol as usize == index));
        assert!(FAMILIES.iter().enumerate().all(|(index, family)| *family as usize == index));
        assert!(STATES.iter().enumerate().all(|(index, state)| *state as usize == index));
    }
}
