//! An hour of many groups, drawn as the kernel draws: no alert where nothing is wrong, and one where something is.

use super::*;
use crate::group::window::WINDOW;

/// Groups of several listeners, and what was selected so far.
struct Fleet {
    host: Host,
    totals: Vec<(u64, u64)>,
    draws: fastrand::Rng,
}

impl Fleet {
    fn of(groups: u16, members: impl Fn(u16) -> u64) -> Self {
        let mut fleet =
            Self { host: Host::default(), totals: Vec::new(), draws: fastrand::Rng::with_seed(20_261_124) };
        for port in 1..=groups {
            for _ in 0..members(port) {
                let inode = fleet.totals.len() as u64 + 1;
                let listener =
                    SocketFacts { protocol: Protocol::Tcp, state: State::Listen, ..udp_member(inode, port) };
                fleet.totals.push((inode, 0));
                fleet.host.put(listener);
            }
        }
        fleet
    }

    /// Sends connections to a group by the kernel's arithmetic on a random hash, of `ranges` members' ranges.
    fn send(&mut self, first: usize, ranges: u64, connections: u64) {
        for _ in 0..connections {
            let index = (u64::from(self.draws.u32(..)) * ranges) >> 32;
            self.totals[first + index as usize].1 += 1;
        }
    }

    fn read(&mut self, at: u64) {
        let counts: Vec<_> = self.totals.iter().map(|(inode, total)| count(*inode, *inode, *total)).collect();
        let _ = self.host.groups.count(&counts, reading(at));
    }

    fn verdicts(&self) -> BTreeMap<Option<Verdict>, usize> {
        let mut verdicts = BTreeMap::new();
        for group in self.host.groups.iter() {
            *verdicts.entry(group.verdict()).or_default() += 1;
        }
        verdicts
    }
}

#[test]
fn a_thousand_healthy_groups_raise_nothing_in_an_hour() {
    let members = |port: u16| 2 + u64::from(port) % 7;
    let mut fleet = Fleet::of(1000, members);
    for window in 1..=6 {
        let mut first = 0;
        for port in 1..=1000 {
            // From hardly any connection to many, for each group another number in each window.
            let connections = (u64::from(port) * 7 + window * 131) % 500;
            fleet.send(first, members(port), connections);
            first += members(port) as usize;
        }
        fleet.read(window * WINDOW);
        let verdicts = fleet.verdicts();
        assert_eq!(verdicts.get(&Some(Verdict::Uneven)), None, "window {window}: {verdicts:?}");
        if window > 1 {
            let chance = verdicts.get(&Some(Verdict::UnevenByChance)).copied().unwrap_or(0);
            assert!(
                (10..=100).contains(&chance),
                "about one in twenty of those with enough flows: {verdicts:?}"
            );
            assert!(verdicts.get(&Some(Verdict::FewPeers)).is_some_and(|few| *few > 10), "{verdicts:?}");
        }
    }
}

#[test]
fn a_truly_uneven_group_is_found_in_two_windows() {
    let mut fleet = Fleet::of(2, |_| 4);
    for window in 1..=2 {
        // Nothing reaches the last member of the first group.
        fleet.send(0, 3, 400);
        fleet.send(4, 4, 400);
        assert_eq!(fleet.verdicts().get(&Some(Verdict::Uneven)), None);
        fleet.read(window * WINDOW);
    }
    let verdicts = fleet.verdicts();
    assert_eq!(verdicts.get(&Some(Verdict::Uneven)), Some(&1), "{verdicts:?}");
}

#[test]
fn eight_connections_over_four_sockets_are_few_and_never_uneven() {
    let mut fleet = Fleet::of(500, |_| 4);
    for window in 1..=3 {
        for group in 0..500 {
            fleet.send(group * 4, 4, 8);
        }
        fleet.read(window * WINDOW);
    }
    assert_eq!(fleet.verdicts(), BTreeMap::from([(Some(Verdict::FewPeers), 500)]));
}
