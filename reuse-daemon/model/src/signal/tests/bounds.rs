//! However much happens, what is kept is bounded, and what matters is told.

use super::*;

/// A program that has two sockets on one port beside another's.
fn share(host: &mut Host, port: u16, inode: u64) {
    for (program, inode) in [(VICTIM, inode), (SAME_USER, inode + 1)] {
        let mut facts = udp(program, inode, "127.0.0.1");
        facts.local.port = port;
        host.bind(program, &facts);
    }
}

#[test]
fn a_graver_signal_takes_the_place_of_another() {
    let mut host = Host::new();
    for number in 0..ACTIVE_MAX as u64 + 10 {
        share(&mut host, 1 + number as u16, 10 + 2 * number);
    }
    host.pass(SECOND);
    assert_eq!((host.active().len(), host.signals.overflow()), (ACTIVE_MAX, 10));
    host.bind(VICTIM, &udp(VICTIM, 1, "0.0.0.0"));
    let mut grave = udp(OTHER, 2, "0.0.0.0");
    grave.local.port = 60_000;
    host.bind(
        VICTIM,
        &SocketFacts { inode: Inode(3), uid: VICTIM.uid, creator: Some(VICTIM.uid), ..grave.clone() },
    );
    host.bind(OTHER, &grave);
    host.pass(SECOND);
    let critical = host.active().iter().filter(|(_, severity)| *severity == Severity::Critical).count();
    assert_eq!((critical, host.active().len()), (1, ACTIVE_MAX));
}

#[test]
fn the_oldest_sides_of_a_port_are_judged() {
    let mut host = Host::new();
    host.bind(VICTIM, &udp(VICTIM, 1, "0.0.0.0"));
    host.bind(OTHER, &udp(OTHER, 2, "127.0.0.1"));
    for number in 0..300_u64 {
        let address = format!("127.0.1.{}", 1 + number % 250);
        let facts = SocketFacts { uid: 5000 + number as u32, ..udp(SAME_USER, 10 + number, &address) };
        host.now += 1;
        host.bind(SAME_USER, &facts);
    }
    host.pass(SECOND);
    let hidden = host
        .signals
        .active()
        .any(|case| case.parties.iter().any(|party| party.socket.facts.inode == Inode(2)));
    assert!(hidden, "the one that came first is told of");
    assert!(host.signals.overflow() > 0, "and that some were not looked at is counted");
}

#[test]
fn who_opens_and_closes_ports_in_a_loop_hides_no_takeover() {
    let mut host = Host::new();
    host.listen(VICTIM, &tcp(VICTIM, 1, "127.0.0.1"));
    host.close(1);
    for number in 0..20_000_u64 {
        let mut facts = tcp(SAME_USER, 2, "127.0.0.1");
        facts.local.port = 1000 + number as u16;
        host.now += 1;
        host.listen(SAME_USER, &facts);
        host.close(2);
    }
    host.listen(OTHER, &tcp(OTHER, 3, "127.0.0.1"));
    let told = host.pass(SECOND);
    assert_eq!(told, [(Kind::TakeoverAfterClose, Severity::Warning)]);
}
