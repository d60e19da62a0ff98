//! Listeners whose port the kernel may give to somebody else: an outgoing connection, or a socket bound to port 0. It does not
//! while they listen, but while they are down, and their next start is then refused.

use std::{collections::BTreeMap, ops::RangeInclusive};

use crate::{
    endpoint::Protocol,
    inventory::{Change, Socket},
    socket::{NetNs, State},
};

/// The ports that the kernel gives away in a network namespace: `net.ipv4.ip_local_port_range` without
/// `net.ipv4.ip_local_reserved_ports`, for both families and all protocols (net/ipv4/inet_connection_sock.c,
/// `inet_csk_find_open_port`; net/ipv4/inet_hashtables.c, `__inet_hash_connect`; net/ipv4/udp.c, `udp_lib_get_port`;
/// Linux 6.18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EphemeralPorts {
    range: RangeInclusive<u16>,
    reserved: Vec<RangeInclusive<u16>>,
}

impl EphemeralPorts {
    /// From what the two files say: `32768\t60999` and `8080,9148-9150`. `None` where that is something else.
    #[must_use]
    pub fn parse(range: &str, reserved: &str) -> Option<Self> {
        let mut bounds = range.split_whitespace().map(str::parse);
        let (Some(Ok(first)), Some(Ok(last)), None) = (bounds.next(), bounds.next(), bounds.next()) else {
            return None;
        };
        let reserved = reserved.trim();
        let reserved = match reserved {
            "" => Vec::new(),
            list => list.split(',').map(part).collect::<Option<_>>()?,
        };
        Some(Self { range: first..=last, reserved })
    }

    /// The first and the last of the range.
    #[must_use]
    pub fn bounds(&self) -> (u16, u16) {
        (*self.range.start(), *self.range.end())
    }

    /// Whether the kernel may give this port away.
    #[must_use]
    pub fn gives_away(&self, port: u16) -> bool {
        self.range.contains(&port) && !self.reserved.iter().any(|part| part.contains(&port))
    }

    /// What the list of reserved ports would be with these as well, as the file takes it.
    #[must_use]
    pub fn reserved_with(&self, ports: impl IntoIterator<Item = u16>) -> String {
        let parts = self.reserved.iter().cloned().chain(ports.into_iter().map(|port| port..=port));
        let mut parts: Vec<_> = parts.map(RangeInclusive::into_inner).collect();
        parts.sort_unstable();
        parts.dedup();
        let words = parts
            .into_iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
        words.collect::<Vec<_>>().join(",")
    }
}

/// A port or `first-last` of the list.
fn part(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let part = first.parse().ok()?..=last.parse().ok()?;
    (!part.is_empty()).then_some(part)
}

/// Whether somebody counts on the socket being at its port: a TCP listener, unless the kernel was seen to choose the port; of
/// UDP one that was seen to ask for its port by number, since others are clients. Never one of the daemon's own.
#[must_use]
pub fn relies_on_its_port(socket: &Socket) -> bool {
    let chosen_by_kernel = socket.since.is_some() && !socket.asked;
    let relies = match (socket.facts.protocol, socket.facts.state) {
        (Protocol::Tcp | Protocol::Mptcp, State::Listen) => !chosen_by_kernel,
        (Protocol::Udp, State::Bound) => socket.asked,
        _ => false,
    };
    relies && !socket.is_own()
}

/// How many sockets rely on each port, kept current by what changes of the inventory.
#[derive(Clone, Debug, Default)]
pub struct FixedPorts(BTreeMap<(NetNs, Protocol), BTreeMap<u16, u64>>);

impl FixedPorts {
    /// Follows one step of the inventory.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Added(socket) => self.add(socket),
            Change::Updated { before, after } => {
                self.remove(before);
                self.add(after);
            }
            Change::Removed(socket) => self.remove(socket),
        }
    }

    /// The ports of each namespace and protocol, with the number of sockets on each.
    pub fn iter(&self) -> impl Iterator<Item = (NetNs, Protocol, &BTreeMap<u16, u64>)> {
        self.0.iter().map(|(&(netns, protocol), ports)| (netns, protocol, ports))
    }

    fn add(&mut self, socket: &Socket) {
        if relies_on_its_port(socket) {
            let facts = &socket.facts;
            *self.0.entry((facts.netns, facts.protocol)).or_default().entry(facts.local.port).or_default() +=
                1;
        }
    }

    fn remove(&mut self, socket: &Socket) {
        if !relies_on_its_port(socket) {
            return;
        }
        let facts = &socket.facts;
        let key = (facts.netns, facts.protocol);
        let Some(ports) = self.0.get_mut(&key) else { return };
        if let Some(count) = ports.get_mut(&facts.local.port) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                ports.remove(&facts.local.port);
            }
        }
        if ports.is_empty() {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        event::{Comm, Moment},
        fixtures::{comm, facts},
        inventory::Owner,
        process::Process,
    };

    #[test]
    fn the_range_without_what_is_reserved_is_given_away() {
        let ports = EphemeralPorts::parse("32768\t60999\n", "8080,40000-40002,50000\n")
            .expect("as the kernel writes it");
        assert_eq!(ports.bounds(), (32768, 60999));
        let given = [80, 8080, 32767, 32768, 39999, 40000, 40002, 40003, 50000, 60999, 61000]
            .map(|port| ports.gives_away(port));
        assert_eq!(given, [false, false, false, true, true, false, false, true, false, true, false]);
        assert!(EphemeralPorts::parse("1024 65535", "\n").expect("nothing reserved").gives_away(65535));
    }

    #[test]
    fn what_the_kernel_never_writes_means_nothing() {
        for (range, reserved) in [
            ("", ""),
            ("1", ""),
            ("1 2 3", ""),
            ("a b", ""),
            ("1 70000", ""),
            ("1 2", "x"),
            ("1 2", "5-3"),
            ("1 2", "1,"),
        ] {
            assert_eq!(EphemeralPorts::parse(range, reserved), None, "{range:?} {reserved:?}");
        }
    }

    #[test]
    fn the_list_with_further_ports_is_one_that_the_file_takes() {
        let with = |reserved: &str, ports: &[u16]| {
            let list =
                EphemeralPorts::parse("1 2", reserved).expect("a list").reserved_with(ports.iter().copied());
            EphemeralPorts::parse("1 2", &list).expect("a list again");
            list
        };
        assert_eq!(with("1-3,5", &[9, 7, 9]), "1-3,5,7,9");
        assert_eq!(with("", &[40000]), "40000");
        assert_eq!(with("", &[]), "");
    }

    fn socket(protocol: Protocol, state: State, (seen, asked): (bool, bool)) -> Socket {
        let mut facts = facts(1, 40000);
        (facts.protocol, facts.state) = (protocol, state);
        Socket { since: seen.then_some(Moment(1)), asked, ..Socket::found(facts, Moment(2)) }
    }

    #[test]
    fn a_listener_relies_on_its_port_unless_the_kernel_chose_it() {
        let (found, by_number, by_kernel) = ((false, false), (true, true), (true, false));
        for (protocol, state, how, relies) in [
            (Protocol::Tcp, State::Listen, found, true),
            (Protocol::Tcp, State::Listen, by_number, true),
            (Protocol::Mptcp, State::Listen, by_number, true),
            (Protocol::Tcp, State::Listen, by_kernel, false),
            (Protocol::Tcp, State::Bound, by_number, false),
            (Protocol::Tcp, State::Connected, by_number, false),
            (Protocol::Udp, State::Bound, found, false),
            (Protocol::Udp, State::Bound, by_number, true),
            (Protocol::Udp, State::Bound, by_kernel, false),
            (Protocol::Udp, State::Connected, by_number, false),
        ] {
            assert_eq!(
                relies_on_its_port(&socket(protocol, state, how)),
                relies,
                "{protocol:?} {state:?} {how:?}"
            );
        }
    }

    #[test]
    fn the_daemons_own_listeners_do_not_count() {
        let process = Process { own: true, ..Process::from_comm(7, comm("reuse-daemon"), 0) };
        let own = Owner { process: Arc::new(process), comm: Comm::default(), fds: vec![3], seen: Moment(2) };
        let listener = Socket { owners: vec![own], ..socket(Protocol::Tcp, State::Listen, (false, false)) };
        assert!(!relies_on_its_port(&listener));
    }

    #[test]
    fn ports_are_counted_as_sockets_come_change_and_go() {
        let listener = |state| Arc::new(socket(Protocol::Tcp, state, (true, true)));
        let mut fixed = FixedPorts::default();
        let counts =
            |fixed: &FixedPorts| -> Vec<_> { fixed.iter().flat_map(|(_, _, ports)| ports.clone()).collect() };
        fixed.apply(&Change::Added(listener(State::Bound)));
        assert_eq!(counts(&fixed), []);
        fixed.apply(&Change::Updated { before: listener(State::Bound), after: listener(State::Listen) });
        fixed.apply(&Change::Added(listener(State::Listen)));
        assert_eq!(counts(&fixed), [(40000, 2)]);
        fixed.apply(&Change::Removed(listener(State::Listen)));
        assert_eq!(counts(&fixed), [(40000, 1)]);
        fixed.apply(&Change::Removed(listener(State::Listen)));
        assert_eq!(fixed.iter().count(), 0);
    }
}
