//! What two sockets are to each other.

use super::*;
use crate::socket::Device;

/// What is told of two sockets, the first being there before the second.
fn told(first: (Program, SocketFacts), second: (Program, SocketFacts)) -> Vec<(Kind, Severity)> {
    both(first, second).active()
}

fn both(first: (Program, SocketFacts), second: (Program, SocketFacts)) -> Host {
    let mut host = Host::new();
    for (program, facts) in [first, second] {
        if facts.protocol == Protocol::Tcp && facts.state == State::Bound && !facts.forced {
            host.listen(program, &facts);
        } else {
            host.bind(program, &facts);
        }
        host.pass(SECOND);
    }
    host
}

fn on(facts: SocketFacts, device: u32) -> SocketFacts {
    SocketFacts { device: Some(Device { index: device, name: "eth0".into() }), ..facts }
}

#[test]
fn shadows_are_as_grave_as_their_parties_are_strange() {
    type Shadow = (&'static str, &'static str, Kind, [Role; 2]);
    let shadows: [Shadow; 7] = [
        ("0.0.0.0", "127.0.0.1", Kind::MoreSpecificShadow, [Role::Victim, Role::Taker]),
        ("127.0.0.1", "0.0.0.0", Kind::MoreSpecificShadow, [Role::Taker, Role::Victim]),
        ("::", "0.0.0.0", Kind::FamilyShadow, [Role::Victim, Role::Taker]),
        ("0.0.0.0", "::", Kind::FamilyShadow, [Role::Taker, Role::Victim]),
        ("0.0.0.0", "::1", Kind::FamilyShadow, [Role::Victim, Role::Taker]),
        ("::1", "127.0.0.1", Kind::FamilyShadow, [Role::Victim, Role::Taker]),
        ("::", "::1", Kind::MoreSpecificShadow, [Role::Victim, Role::Taker]),
    ];
    let again = Program { pid: 11, ..VICTIM };
    for (first, second, kind, roles) in shadows {
        for make in [tcp, udp] {
            let pair = |other: Program| ((VICTIM, make(VICTIM, 1, first)), (other, make(other, 2, second)));
            for (other, severity) in
                [(OTHER, Severity::Critical), (SAME_USER, Severity::Warning), (again, Severity::Info)]
            {
                let (one, two) = pair(other);
                let host = both(one, two);
                assert_eq!(host.active(), [(kind, severity)], "{first} {second} {}", other.name);
                let mut parties = [(roles[0], 1), (roles[1], 2)];
                parties.sort_by_key(|(role, _)| *role);
                assert_eq!(host.parties(), parties, "{first} {second}");
            }
            let (one, two) = pair(VICTIM);
            assert_eq!(told(one, two), [], "a program shadows itself by design: {first} {second}");
        }
    }
}

#[test]
fn what_has_nothing_in_common_is_nothing() {
    for (first, second) in [("127.0.0.1", "127.0.0.2"), ("10.0.0.1", "::1"), ("fe80::1", "0.0.0.0")] {
        assert_eq!(told((VICTIM, tcp(VICTIM, 1, first)), (OTHER, v6only(tcp(OTHER, 2, second)))), []);
    }
    let elsewhere = SocketFacts { netns: crate::socket::NetNs(7), ..udp(OTHER, 2, "0.0.0.0") };
    assert_eq!(told((VICTIM, udp(VICTIM, 1, "0.0.0.0")), (OTHER, elsewhere)), []);
}

#[test]
fn a_device_against_none_or_another_one_shadows() {
    let expected = [(Kind::DeviceShadow, Severity::Critical)];
    let host = both((VICTIM, on(tcp(VICTIM, 1, "0.0.0.0"), 2)), (OTHER, tcp(OTHER, 2, "0.0.0.0")));
    assert_eq!(
        (host.active(), host.parties()),
        (expected.to_vec(), vec![(Role::Victim, 2), (Role::Taker, 1)])
    );
    let host = both((VICTIM, on(tcp(VICTIM, 1, "0.0.0.0"), 2)), (OTHER, on(tcp(OTHER, 2, "0.0.0.0"), 1)));
    assert_eq!(
        (host.active(), host.parties()),
        (expected.to_vec(), vec![(Role::Victim, 1), (Role::Taker, 2)])
    );
}

#[test]
fn a_port_number_that_the_kernel_chose_is_aimed_at_nobody() {
    let mut host = Host::new();
    let client =
        SocketFacts { local: Endpoint { port: 40_000, ..udp(OTHER, 2, "::").local }, ..udp(OTHER, 2, "::") };
    let server = SocketFacts {
        local: Endpoint { port: 40_000, ..udp(VICTIM, 1, "0.0.0.0").local },
        ..udp(VICTIM, 1, "0.0.0.0")
    };
    host.bind(VICTIM, &server);
    let mut chosen = call(Phase::Bind, 0, OTHER.pid, host.now, v6only(client));
    chosen.requested = chosen.requested.map(|asked| Endpoint { port: 0, ..asked });
    host.apply(&Event::Call(Box::new(chosen)));
    assert_eq!(host.pass(SECOND), []);
}

#[test]
fn sharing_an_address_depends_on_the_users_and_the_programs() {
    let at = |program, inode| member(tcp(program, inode, "127.0.0.1"));
    let again = Program { pid: 11, ..VICTIM };
    for (other, expected) in [
        (OTHER, vec![(Kind::ForeignUidShare, Severity::Critical)]),
        (SAME_USER, vec![(Kind::ForeignProgramJoin, Severity::Warning)]),
        (again, vec![]),
    ] {
        assert_eq!(told((VICTIM, at(VICTIM, 1)), (other, at(other, 2))), expected, "{}", other.name);
    }
}

#[test]
fn many_sockets_of_one_program_are_one_party() {
    let mut host = Host::new();
    for inode in 1..=4 {
        host.listen(VICTIM, &member(tcp(VICTIM, inode, "127.0.0.1")));
    }
    for inode in 5..=6 {
        host.listen(SAME_USER, &member(tcp(SAME_USER, inode, "127.0.0.1")));
    }
    assert_eq!(host.pass(SECOND), [(Kind::ForeignProgramJoin, Severity::Warning)]);
    let inodes: Vec<_> = host.parties().into_iter().map(|(_, inode)| inode).collect();
    assert_eq!(inodes, [1, 2, 3, 4, 5, 6]);
    host.close(5);
    host.close(1);
    host.pass(SECOND);
    assert_eq!(host.parties(), [(Role::Victim, 2), (Role::Victim, 3), (Role::Victim, 4), (Role::Taker, 6)]);
    host.close(6);
    assert_eq!(host.pass(SECOND), []);
    assert_eq!(host.told.len(), 2, "one begin, one end");
}

#[test]
fn who_listens_first_squats_on_who_had_bound() {
    let mut host = Host::new();
    host.bind(VICTIM, &reuseaddr(tcp(VICTIM, 1, "127.0.0.1")));
    host.bind(OTHER, &reuseaddr(tcp(OTHER, 2, "127.0.0.1")));
    assert_eq!(host.pass(SECOND), [], "nobody gets anything yet");
    let listens = SocketFacts { state: State::Listen, ..reuseaddr(tcp(OTHER, 2, "127.0.0.1")) };
    host.call(Phase::Listen, OTHER, &listens);
    assert_eq!(host.pass(SECOND), [(Kind::ListenSquat, Severity::Critical)]);
    assert_eq!(host.parties(), [(Role::Victim, 1), (Role::Taker, 2)]);
    host.close(1);
    assert_eq!(host.pass(SECOND), [], "who waited has gone");
}

#[test]
fn who_bound_without_reuseaddr_is_squatted_on_by_nobody() {
    for (waits, listens) in [(false, true), (true, false)] {
        let with = |facts: SocketFacts, set| if set { reuseaddr(facts) } else { member(facts) };
        let mut host = Host::new();
        host.bind(VICTIM, &with(tcp(VICTIM, 1, "127.0.0.1"), waits));
        host.listen(SAME_USER, &with(tcp(SAME_USER, 2, "127.0.0.1"), listens));
        assert_eq!(host.pass(SECOND), [], "{waits} {listens}");
    }
}

#[test]
fn one_process_with_sockets_of_two_users_is_no_excuse() {
    let both = SocketFacts { uid: OTHER.uid, creator: Some(OTHER.uid), ..udp(VICTIM, 2, "0.0.0.0") };
    assert_eq!(
        told((VICTIM, udp(VICTIM, 1, "0.0.0.0")), (VICTIM, both)),
        [(Kind::ForeignUidShare, Severity::Critical)]
    );
}

#[test]
fn repair_forces_a_share_of_whatever_user() {
    let forced = |program, inode| SocketFacts {
        forced: true,
        state: State::Listen,
        ..reuseaddr(tcp(program, inode, "127.0.0.1"))
    };
    for (other, severity) in [(OTHER, Severity::Critical), (SAME_USER, Severity::Warning)] {
        let host = both((VICTIM, tcp(VICTIM, 1, "127.0.0.1")), (other, forced(other, 2)));
        assert_eq!(host.active(), [(Kind::RepairBind, severity)]);
        assert_eq!(host.parties(), [(Role::Victim, 1), (Role::Taker, 2)]);
    }
}

#[test]
fn a_changed_uid_is_told_once() {
    let disguised =
        SocketFacts { uid: VICTIM.uid, creator: Some(OTHER.uid), ..member(tcp(OTHER, 2, "127.0.0.1")) };
    let host = both((VICTIM, member(tcp(VICTIM, 1, "127.0.0.1"))), (OTHER, disguised.clone()));
    assert_eq!(host.active(), [(Kind::OwnerChange, Severity::Warning)]);
    let shadow = SocketFacts { uid: 7, ..tcp(OTHER, 2, "0.0.0.0") };
    let host =
        both((VICTIM, tcp(VICTIM, 1, "127.0.0.1")), (OTHER, SocketFacts { creator: Some(1), ..shadow }));
    assert!(host.active().contains(&(Kind::MoreSpecificShadow, Severity::Critical)), "graver, so told too");
}

#[test]
fn a_uid_that_may_have_changed_is_looked_at() {
    let mut host = Host::new();
    let unread = SocketFacts { uid: VICTIM.uid, creator: None, ..tcp(OTHER, 2, "127.0.0.1") };
    host.bind(OTHER, &unread);
    host.pass(SECOND);
    assert_eq!(host.read, [Inode(2)]);
    let dropped = Program { uid: 33, ..VICTIM };
    host.bind(dropped, &SocketFacts { inode: Inode(3), creator: Some(0), uid: 0, ..unread });
    host.pass(SECOND);
    assert_eq!(host.active(), [], "its creator is its uid, whatever its process became");
}

#[test]
fn multicast_is_shared_by_design_by_who_joined_the_same_group() {
    let joined = |facts: SocketFacts, group: &str| SocketFacts {
        multicast: vec![group.parse().expect("an address")],
        ..facts
    };
    let mdns = |program, inode, address, group| joined(udp(program, inode, address), group);
    for (one, other, severity) in [
        (("0.0.0.0", "224.0.0.251"), ("0.0.0.0", "224.0.0.251"), Severity::Info),
        (("0.0.0.0", "224.0.0.251"), ("::", "ff02::fb"), Severity::Info),
        (("0.0.0.0", "224.0.0.251"), ("0.0.0.0", "224.0.0.252"), Severity::Critical),
        (("0.0.0.0", "239.255.255.250"), ("::", "ff05::c"), Severity::Info),
        (("0.0.0.0", "224.0.0.251"), ("::", "ff02::c"), Severity::Critical),
    ] {
        let host = both(
            (VICTIM, mdns(VICTIM, 1, one.0, one.1)),
            (OTHER, v6only_if_ipv6(mdns(OTHER, 2, other.0, other.1))),
        );
        let severities: Vec<_> = host.active().into_iter().map(|(_, severity)| severity).collect();
        assert_eq!(severities, [severity], "{one:?} {other:?}");
    }
    let host = both((VICTIM, mdns(VICTIM, 1, "0.0.0.0", "224.0.0.251")), (OTHER, udp(OTHER, 2, "0.0.0.0")));
    assert_eq!(host.active(), [(Kind::ForeignUidShare, Severity::Critical)], "one joined nothing");
}

#[test]
fn who_comes_to_a_multicast_port_has_time_to_join() {
    let joined = |facts: SocketFacts| SocketFacts {
        multicast: vec!["224.0.0.251".parse().expect("an address")],
        ..facts
    };
    let mut host = Host::found(vec![(VICTIM, joined(udp(VICTIM, 1, "0.0.0.0")))]);
    host.bind(OTHER, &udp(OTHER, 2, "0.0.0.0"));
    let bound = Moment(host.now);
    assert_eq!(host.pass(400 * MS), []);
    assert_eq!(host.pass(200 * MS), [(Kind::ForeignUidShare, Severity::Critical)]);
    assert_eq!(host.told[0].at, bound);
}

fn v6only_if_ipv6(facts: SocketFacts) -> SocketFacts {
    if facts.family == Family::Ipv6 { v6only(facts) } else { facts }
}

#[test]
fn a_connected_socket_of_another_user_beats_the_others_for_its_client() {
    let connected = SocketFacts { state: State::Connected, ..udp(OTHER, 2, "127.0.0.1") };
    let host = both((VICTIM, udp(VICTIM, 1, "0.0.0.0")), (OTHER, connected));
    assert_eq!(host.active(), [(Kind::MoreSpecificShadow, Severity::Critical)]);
}

#[test]
fn the_daemons_own_sockets_are_nobodys_business_but_in_the_test_group() {
    let own = Program { pid: 1, name: "reuse-daemon", uid: 0 };
    assert_eq!(told((own, tcp(own, 1, "127.0.0.1")), (OTHER, tcp(OTHER, 2, "0.0.0.0"))), []);
    let host = both((own, member(tcp(own, 1, "127.0.0.1"))), (OTHER, tcp(OTHER, 2, "0.0.0.0")));
    assert_eq!(host.active(), [(Kind::TestGroupIntruder, Severity::Critical)]);
    assert_eq!(host.parties(), [(Role::Victim, 1), (Role::Taker, 2)]);
    assert_eq!(told((own, member(tcp(own, 1, "127.0.0.1"))), (OTHER, tcp(OTHER, 2, "::1"))), []);
}
