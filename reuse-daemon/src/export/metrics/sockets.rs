//! How many sockets hold a port.

use reuse_model::{
    endpoint::{Family as AddressFamily, Protocol},
    inventory::Census,
    socket::State,
};

use super::{family::Family, page::Page};

const SOCKETS: Family = Family::gauge(
    "reuse_sockets",
    "Sockets that hold a port, the daemon's own included.",
    &["protocol", "family", "state"],
);

/// Writes every family of this area.
pub(super) fn write(page: &mut Page, census: &Census) {
    let possible = census
        .iter()
        .filter(|(protocol, family, state, count)| *count > 0 || is_usual(*protocol, *family, *state));
    page.write(
        &SOCKETS,
        possible.map(|(protocol, family, state, count)| {
            ([protocol.as_str(), family.as_str(), state.as_str()], count)
        }),
    );
}

/// Whether a combination is given also while no socket has it.
fn is_usual(protocol: Protocol, family: AddressFamily, state: State) -> bool {
    let states: &[State] = match protocol {
        Protocol::Tcp | Protocol::Mptcp => &[State::Bound, State::Listen, State::Connected],
        Protocol::Udp => &[State::Bound, State::Connected],
        Protocol::Other => &[],
    };
    family != AddressFamily::Other && states.contains(&state)
}
