//! Snapshots against what events said, one case at a time.

use super::*;
use crate::{event::Scope, socket::Cookie};

#[test]
fn the_first_snapshot_fills_and_corrects_nothing() {
    let mut host = Host::new();
    host.apply(&bind(10, 100, facts(1, 80)));
    let kinds = host.reconcile(&snapshot(
        200,
        300,
        vec![
            holding(10, 3, facts(1, 80)),
            holding(11, 3, facts(1, 80)),
            holding(12, 5, facts(2, 53)),
            holding(12, 6, facts(2, 53)),
        ],
    ));
    assert_eq!(kinds, []);
    assert_eq!(host.confirm(10 * SECOND), []);
    assert_eq!(
        (host.socket(1).owners[0].fds.as_slice(), host.socket(1).since),
        (&[3][..], Some(Moment(100)))
    );
    assert_eq!((host.socket(2).owners[0].fds.as_slice(), host.socket(2).since), (&[5, 6][..], None));
}

#[test]
fn a_snapshot_finds_what_no_event_told() {
    let mut host = Host::backfilled();
    host.apply(&bind(10, 100, facts(1, 80)));
    host.apply(&bind(10, 100, facts(2, 81)));
    let mut changed = facts(2, 81);
    changed.state = State::Connected;
    let kinds = host.reconcile(&snapshot(
        200,
        300,
        vec![holding(11, 3, changed), holding(10, 4, facts(3, 82)), holding(10, 5, facts(4, 40_000))],
    ));
    assert_eq!(kinds, [Correction::MissedClose, Correction::OwnerRemoved, Correction::OwnerAdded]);
    assert_eq!(host.confirm(300 + SECOND - 1), []);
    let mut confirmed = host.confirm(300 + SECOND);
    confirmed.sort();
    assert_eq!(confirmed, [Correction::MissedBind, Correction::MissedBind, Correction::StateChanged]);
    assert_eq!(host.confirm(10 * SECOND), [], "each counts once");
    assert_eq!((host.pids(2), host.socket(2).facts.state), (vec![11], State::Connected));
}

#[test]
fn a_socket_of_the_daemons_own_is_found_and_no_correction() {
    let mut host = Host::backfilled();
    assert_eq!(host.reconcile(&snapshot(200, 300, vec![holding(1, 3, facts(3, 82))])), []);
    assert_eq!(host.confirm(10 * SECOND), []);
    assert!(host.socket(3).is_own());
}

#[test]
fn a_snapshot_of_a_part_takes_nothing_away() {
    let mut host = Host::backfilled();
    host.apply(&bind(10, 100, facts(1, 80)));
    host.apply(&bind(10, 100, facts(2, 81)));
    let part = Snapshot { scope: Scope::Part, ..snapshot(200, 300, vec![holding(11, 3, facts(2, 81))]) };
    assert_eq!(host.reconcile(&part), [Correction::OwnerAdded]);
    assert_eq!((host.pids(1), host.pids(2)), (vec![10], vec![10, 11]));
}

#[test]
fn implicit_is_what_nothing_says_was_bound() {
    let udp = |inode, port, change: fn(&mut SocketFacts)| {
        let mut facts = udp_member(inode, port);
        facts.flags.reuseport = false;
        facts.local = Endpoint { address: Family::Ipv4.unspecified(), port };
        change(&mut facts);
        holding(10, 3, facts)
    };
    for (found, kind) in [
        (udp(1, 40_000, |_| ()), Correction::ImplicitBind),
        (udp(1, 40_000, |facts| facts.local = loopback(40_000)), Correction::MissedBind),
        (
            udp(1, 40_000, |facts| (facts.local, facts.state) = (loopback(40_000), State::Connected)),
            Correction::ImplicitBind,
        ),
        (udp(1, 40_000, |facts| facts.flags.reuseaddr = true), Correction::MissedBind),
        (udp(1, 53, |_| ()), Correction::MissedBind),
        (udp(1, 40_000, |facts| facts.protocol = Protocol::Tcp), Correction::MissedBind),
    ] {
        let mut host = Host::backfilled();
        assert_eq!(host.reconcile(&snapshot(100, 200, vec![found.clone()])), []);
        assert_eq!(host.confirm(2 * SECOND), [kind], "{found:?}");
    }
}

#[test]
fn a_snapshot_that_is_ahead_of_the_event_corrects_nothing() {
    let mut host = Host::backfilled();
    let listening = SocketFacts { state: State::Listen, ..facts(2, 81) };
    host.apply(&bind(10, 50, facts(2, 81)));
    host.reconcile(&snapshot(100, 200, vec![holding(10, 3, facts(1, 80)), holding(10, 4, listening)]));
    host.apply(&bind(10, 201, facts(1, 80)));
    host.apply(&listen(10, 202, facts(2, 81)));
    assert_eq!(host.confirm(10 * SECOND), []);
    assert_eq!(host.socket(1).since, Some(Moment(201)));
}

#[test]
fn a_snapshot_undoes_nothing_that_is_newer() {
    let mut host = Host::backfilled();
    host.apply(&bind(10, 50, facts(1, 80)));
    host.apply(&bind(11, 50, facts(2, 81)));
    host.apply(&close(1, 120));
    host.apply(&exit(11, 130));
    host.apply(&bind(12, 140, facts(3, 82)));
    let kinds =
        host.reconcile(&snapshot(100, 200, vec![holding(10, 3, facts(1, 80)), holding(11, 3, facts(2, 81))]));
    assert_eq!(kinds, []);
    assert!(host.inventory.get(Inode(1)).is_none(), "closed while the snapshot was read");
    assert_eq!(host.pids(3), [12], "bound while the snapshot was read");
    assert_eq!(host.pids(2), [0; 0], "its owner's exit came later than the walk");
    assert!(host.inventory.wants_rescan(Moment(200)), "who has it now is open");
    assert_eq!(
        host.reconcile(&snapshot(300, 400, vec![holding(12, 3, facts(3, 82))])),
        [Correction::MissedClose]
    );
    assert!(!host.inventory.wants_rescan(Moment(SECOND)));
    assert_eq!(host.confirm(10 * SECOND), []);
}

#[test]
fn events_since_a_snapshot_began_outweigh_it() {
    let mut host = Host::backfilled();
    host.apply(&bind(10, 50, facts(1, 80)));
    host.apply(&listen(11, 100, facts(1, 80)));
    assert_eq!(host.reconcile(&snapshot(100, 200, vec![holding(10, 3, facts(1, 80))])), []);
    assert_eq!((host.socket(1).facts.state, host.pids(1)), (State::Listen, vec![10, 11]));
    host.apply(&close(1, 300));
    host.reconcile(&snapshot(300, 400, vec![holding(10, 3, facts(1, 80))]));
    assert!(host.inventory.is_empty(), "closed in the moment the snapshot began");
}

#[test]
fn a_new_owner_ends_the_search_for_one() {
    let found_by_event = |host: &mut Host| host.apply(&listen(11, 300, facts(1, 80)));
    let found_by_snapshot = |host: &mut Host| {
        host.reconcile(&snapshot(300, 400, vec![holding(11, 3, facts(1, 80))]));
    };
    for find in [&found_by_event as &dyn Fn(&mut Host), &found_by_snapshot] {
        let mut host = Host::backfilled();
        host.apply(&bind(10, 100, facts(1, 80)));
        host.apply(&exit(10, 200));
        assert!(host.inventory.wants_rescan(Moment(SECOND)));
        find(&mut host);
        assert!(!host.inventory.wants_rescan(Moment(SECOND)));
        assert_eq!(host.pids(1), [11]);
    }
}

#[test]
fn a_forgotten_end_makes_new_finds_doubtful() {
    let mut host = Host::backfilled();
    host.apply(&close(1, 150));
    for inode in 2..=65_538 {
        host.apply(&close(inode, 160));
    }
    let late = snapshot(100, 200, vec![holding(10, 3, facts(1, 80))]);
    host.reconcile(&late);
    assert!(host.inventory.is_empty(), "it was closed, which is remembered no longer");
    assert!(host.inventory.wants_rescan(Moment(200)));
    host.reconcile(&snapshot(300, 400, vec![holding(10, 3, facts(70_000, 80))]));
    assert_eq!(host.inventory.len(), 1);
    assert!(!host.inventory.wants_rescan(Moment(400)));
}

#[test]
fn cookies_tell_sockets_of_one_inode_number_apart() {
    let mut host = Host::backfilled();
    let with = |cookie, port| SocketFacts { cookie: Cookie(cookie), ..facts(1, port) };
    host.apply(&bind(10, 100, with(7, 80)));
    host.apply(&bind(11, 200, with(8, 81)));
    assert!(matches!(host.changes.as_slice(), [Change::Removed(_), Change::Added(_)]));
    assert_eq!(host.pids(1), [11]);
    host.apply(&Event::Close { inode: Inode(1), cookie: Cookie(7), drops: 0, at: Moment(300) });
    assert_eq!(host.inventory.len(), 1, "a late close of the one before");
    assert_eq!(
        host.reconcile(&snapshot(400, 500, vec![holding(12, 3, with(9, 82))])),
        [Correction::MissedClose]
    );
    assert_eq!((host.pids(1), host.socket(1).facts.local.port), (vec![12], 82));
}
