//! Membership, slots and counters.

mod properties;
mod simulation;
mod windows;

use std::collections::BTreeMap;

use super::*;
use crate::{
    endpoint::{Family, Protocol, Transport},
    event::{Counter, MemberCount, MemberGauges},
    fixtures::{Everyone, SECOND, facts, loopback, udp_member},
    inventory::Owner,
    process::Processes,
    socket::{Flags, NetNs, SocketFacts, State},
};

fn socket(facts: SocketFacts, pid: u32) -> Arc<Socket> {
    let process = Everyone.process(pid, Default::default(), 0);
    let owner = Owner { process, comm: Default::default(), fds: Vec::new(), seen: Moment(0) };
    Arc::new(Socket { owners: vec![owner], ..Socket::found(facts, Moment(0)) })
}

#[derive(Default)]
struct Host {
    groups: Groups,
    sockets: BTreeMap<u64, Arc<Socket>>,
    now: u64,
}

impl Host {
    /// Puts a socket as the inventory would, and says `+slot` or `-slot` for each event.
    fn put(&mut self, facts: SocketFacts) -> Vec<String> {
        self.put_of(10, facts)
    }

    fn put_of(&mut self, pid: u32, facts: SocketFacts) -> Vec<String> {
        let after = socket(facts, pid);
        let change = match self.sockets.insert(after.facts.inode.0, Arc::clone(&after)) {
            None => Change::Added(after),
            Some(before) => Change::Updated { before, after },
        };
        self.apply(&change)
    }

    fn close(&mut self, inode: u64) -> Vec<String> {
        let socket = self.sockets.remove(&inode).expect("open");
        self.apply(&Change::Removed(socket))
    }

    fn apply(&mut self, change: &Change) -> Vec<String> {
        let mut events = Vec::new();
        self.groups.apply(change, Moment(self.now), &mut events);
        let sign = |kind| if kind == GroupChangeKind::Join { '+' } else { '-' };
        events.iter().map(|event| format!("{}{}", sign(event.kind), event.slot)).collect()
    }

    fn count(&mut self, counts: &[(u64, u64, u64)]) {
        let counts: Vec<MemberCount> =
            counts.iter().map(|(inode, counter, n)| count(*inode, *counter, *n)).collect();
        let _ = self.groups.count(&counts, reading(self.now));
    }

    fn selections(&self) -> Vec<u64> {
        let group = self.groups.iter().next().expect("one group");
        group.slots().map(|(_, _, counts)| counts.selections).collect()
    }
}

fn reading(at: u64) -> Reading {
    Reading { at: Moment(at), flows: None }
}

fn count(inode: u64, counter: u64, selections: u64) -> MemberCount {
    MemberCount { counter: Counter(counter), inode: Inode(inode), selections, flows: None, live: None }
}

fn listener(inode: u64) -> SocketFacts {
    SocketFacts { protocol: Protocol::Tcp, state: State::Listen, ..udp_member(inode, 80) }
}

#[test]
fn membership_starts_with_bind_for_udp_and_with_listen_for_tcp() {
    let mut host = Host::default();
    assert_eq!(host.put(udp_member(1, 53)), ["+0"]);
    assert_eq!(host.put(SocketFacts { state: State::Bound, ..listener(2) }), [""; 0]);
    assert_eq!(host.put(listener(2)), ["+0"]);
    assert_eq!(host.put(SocketFacts { protocol: Protocol::Mptcp, ..listener(3) }), ["+1"], "MPTCP joins TCP");
    assert_eq!(host.put(SocketFacts { flags: Flags::default(), ..udp_member(4, 53) }), [""; 0]);
    assert_eq!(host.put(SocketFacts { state: State::Connected, ..udp_member(1, 53) }), ["-0"]);
    assert_eq!(host.put(SocketFacts { state: State::Closing, ..listener(2) }), ["-0"]);
}

#[test]
fn every_part_of_the_key_keeps_groups_apart() {
    let base = udp_member(1, 53);
    let device = Device { index: 3, name: Arc::from("eth0") };
    let v6only = Flags { v6only: true, ..base.flags };
    let mut host = Host::default();
    for facts in [
        base.clone(),
        SocketFacts { netns: NetNs(7), ..base.clone() },
        listener(1),
        SocketFacts { family: Family::Ipv6, ..base.clone() },
        SocketFacts { family: Family::Ipv6, flags: v6only, ..base.clone() },
        SocketFacts { local: loopback(54), ..base.clone() },
        SocketFacts { device: Some(device), ..base.clone() },
        SocketFacts { uid: 1000, ..base.clone() },
    ] {
        let inode = Inode(100 + host.sockets.len() as u64);
        assert_eq!(host.put(SocketFacts { inode, ..facts }), ["+0"]);
    }
    assert_eq!(host.groups.live(), 8);
    assert_eq!(host.put(SocketFacts { inode: Inode(200), flags: v6only, ..base }), ["+1"], "v6only of IPv4");
}

#[test]
fn neither_a_cleared_option_nor_a_new_uid_takes_a_member_out() {
    let mut host = Host::default();
    host.put(udp_member(1, 53));
    let plain = SocketFacts { flags: Flags::default(), uid: 7, ..udp_member(1, 53) };
    assert_eq!(host.put(plain.clone()), [""; 0]);
    assert_eq!(host.groups.iter().next().map(|group| (group.len(), group.key().uid)), Some((1, 0)));
    let moved = SocketFacts { local: loopback(54), ..plain };
    assert_eq!(host.put(moved), ["-0"], "bound elsewhere without the option");
}

#[test]
fn the_daemons_own_sockets_are_in_no_group() {
    let mut host = Host::default();
    assert_eq!(host.put_of(1, udp_member(1, 53)), [""; 0]);
    assert_eq!(host.put_of(2, udp_member(2, 53)), ["+0"]);
}

#[test]
fn slots_are_reused_and_go_on_counting() {
    let mut host = Host::default();
    for inode in 1..=3 {
        host.put(udp_member(inode, 53));
    }
    host.count(&[(1, 11, 5), (2, 12, 7)]);
    assert_eq!(host.close(1), ["-0"]);
    host.close(2);
    assert_eq!(host.put(udp_member(4, 53)), ["+0"], "the lowest free slot");
    host.count(&[(1, 11, 6), (2, 12, 7), (4, 14, 100)]);
    assert_eq!(host.selections(), [106, 7, 0], "the last selection of a closed socket lands in its slot");
    host.count(&[(4, 14, 101), (3, 13, 1)]);
    assert_eq!(host.selections(), [107, 7, 1]);
}

#[test]
fn drops_told_with_the_close_are_counted() {
    let mut host = Host::default();
    host.put(udp_member(1, 53));
    let live = Some(MemberGauges { drops: 3, queue: 0, queue_limit: 9, group: None });
    let _ = host.groups.count(&[MemberCount { live, ..count(1, 11, 5) }], reading(0));
    let last = SocketFacts { drops: 8, ..udp_member(1, 53) };
    host.apply(&Change::Removed(socket(last, 10)));
    let group = host.groups.iter().next().expect("retained");
    let drops: Vec<u64> = group.slots().map(|(_, _, counts)| counts.drops).collect();
    assert_eq!(drops, [8]);
}

#[test]
fn counts_wait_for_their_member_and_find_one_that_is_gone() {
    let mut host = Host::default();
    host.count(&[(1, 11, 5)]);
    host.put(udp_member(1, 53));
    host.put(udp_member(2, 53));
    host.count(&[(1, 11, 9)]);
    assert_eq!(host.selections(), [9, 0]);
    host.close(2);
    host.count(&[(1, 11, 9), (2, 12, 4)]);
    assert_eq!(host.selections(), [9, 4], "first read after the close");
    host.count(&[(1, 11, 12)]);
    assert_eq!(host.selections(), [12, 4]);
    host.count(&[(1, 11, 2)]);
    assert_eq!(host.selections(), [14, 4], "the map had forgotten it and began at 0");
    host.count(&[(2, 12, 4)]);
    host.count(&[(1, 11, 20)]);
    assert_eq!(host.selections(), [32, 4], "a reading that lacked it forgot nothing");
    host.groups.forget(Counter(11));
    host.count(&[(1, 11, 20)]);
    assert_eq!(host.selections(), [52, 4], "the kernel's map was told to forget it");
}

#[test]
fn counters_of_one_socket_add_up_and_are_forgotten_one_by_one() {
    const BEFORE: u64 = 1 << 63 | 1;
    let mut host = Host::default();
    host.put(udp_member(1, 53));
    host.count(&[(1, BEFORE, 3)]);
    host.count(&[(1, BEFORE, 4), (1, 11, 5)]);
    assert_eq!(host.selections(), [9]);
    host.close(1);
    host.count(&[(1, 11, 6), (1, BEFORE, 4)]);
    assert_eq!(host.selections(), [10]);
    assert!(host.groups.forget(Counter(BEFORE)) && host.groups.forget(Counter(11)));
    assert!(!host.groups.forget(Counter(BEFORE)));
}

#[test]
fn the_last_count_of_a_closed_socket_may_come_late_and_touches_no_other() {
    let mut host = Host::default();
    host.put(udp_member(1, 53));
    host.put(udp_member(2, 53));
    host.count(&[(1, 11, 5)]);
    host.close(1);
    host.put(udp_member(3, 53));
    host.groups.prune(Moment(RETAINED));
    let live = Some(MemberGauges { drops: 9, queue: 9, queue_limit: 9, group: None });
    let _ = host.groups.count(&[MemberCount { live, ..count(1, 11, 6) }], reading(0));
    assert_eq!(host.selections(), [6, 0]);
    let group = host.groups.iter().next().expect("one group");
    let (_, member, counts) = group.members().next().expect("two members");
    assert_eq!((member.queue, counts.drops), (0, 0), "the queue is that of the socket in the slot now");
}

#[test]
fn drops_add_up_and_gauges_follow() {
    let mut host = Host::default();
    let live = |drops, queue| Some(MemberGauges { drops, queue, queue_limit: 100, group: None });
    let read = |inode, drops, queue| MemberCount { live: live(drops, queue), ..count(inode, inode, 0) };
    host.put(SocketFacts { drops: 3, queue: 9, ..udp_member(1, 53) });
    let _ = host.groups.count(&[read(1, 5, 42)], reading(0));
    host.put(SocketFacts { drops: 4, queue: 41, ..udp_member(1, 53) });
    let slot = |host: &Host| {
        let group = host.groups.iter().next().expect("one group");
        let (_, member, counts) = group.slots().next().expect("one slot");
        (counts.drops, member.map(|member| member.queue))
    };
    assert_eq!(slot(&host), (5, Some(41)), "an older number of drops adds nothing");
    host.close(1);
    host.put(udp_member(2, 53));
    let _ = host.groups.count(&[read(2, 2, 0)], reading(0));
    assert_eq!(slot(&host), (7, Some(0)));
}

#[test]
fn a_group_is_kept_for_a_while_after_its_last_member() {
    let mut host = Host::default();
    host.put(udp_member(1, 53));
    host.count(&[(1, 11, 5)]);
    host.now = 10 * SECOND;
    host.close(1);
    host.groups.prune(Moment(10 * SECOND + RETAINED - 1));
    assert_eq!((host.groups.live(), host.selections()), (0, vec![5]));
    host.put(udp_member(2, 53));
    host.groups.prune(Moment(10 * SECOND + RETAINED));
    assert_eq!(host.selections(), [5], "it has a member again");
    host.now = 20 * SECOND;
    host.close(2);
    host.groups.prune(Moment(20 * SECOND + RETAINED));
    assert_eq!(host.groups.iter().count(), 0);
    assert!(host.groups.left.is_empty());
}

#[test]
fn empty_groups_are_bounded() {
    let mut host = Host::default();
    for port in 1..=u16::try_from(RETAINED_MAX).expect("a port") + 5 {
        host.now += 1;
        host.put(udp_member(u64::from(port), port));
        host.close(u64::from(port));
    }
    assert_eq!(host.groups.iter().count(), RETAINED_MAX);
    let key = |port| GroupKey {
        netns: NetNs(4_026_531_840),
        transport: Transport::Udp,
        family: Family::Ipv4,
        v6only: false,
        local: loopback(port),
        device: None,
        uid: 0,
    };
    assert!(host.groups.get(&key(5)).is_none() && host.groups.get(&key(6)).is_some(), "the oldest go first");
}

#[test]
fn a_bound_tcp_socket_without_the_option_is_nobody() {
    assert_eq!(GroupKey::of_member(&facts(1, 80), false), None);
}
