//! UDP, case by case; each was tried on Linux 6.18.

use super::*;

fn asks(address: &str) -> Contender {
    Contender { transport: Transport::Udp, reuseport: true, ..contender(address) }
}

fn member(address: &str) -> Occupant {
    Occupant { reuseport: true, ..occupant(address) }
}

fn decided(asking: &Contender, port: &Port) -> Decision {
    decide(&kernel(), Request::Bind, asking, port)
}

#[test]
fn the_first_overlapping_socket_decides() {
    let (open, closed) = (member("127.0.0.1"), occupant("127.0.0.2"));
    let asking = asks("0.0.0.0");
    let decision = decided(&asking, &udp_port(UdpScan::Port, [closed.clone(), open.clone()]));
    assert_eq!((decision.refused, decision.decided_by), (true, Some(0)));
    let decision = decided(&asking, &udp_port(UdpScan::Port, [open.clone(), closed.clone()]));
    assert!(!decision.refused);
    assert_eq!(decision.exemption, Some(Exemption::ScanOrder));
    assert_eq!(decision.blockers.iter().map(|blocker| blocker.occupant).collect::<Vec<_>>(), [1]);
    // One that does not overlap, or sets SO_REUSEADDR as well, is passed over.
    let asking = Contender { reuse: Reuse::Yes, ..asks("127.0.0.2") };
    let sharing = Occupant { reuse: Reuse::Yes, ..occupant("127.0.0.2") };
    let decision = decided(&asking, &udp_port(UdpScan::Port, [sharing, open, closed]));
    assert_eq!(decision.decided_by, Some(2));
}

#[test]
fn the_deciding_socket_is_told_first_and_the_rest_in_scan_order() {
    let port = udp_port(UdpScan::Port, [member("127.0.0.3"), occupant("127.0.0.1"), occupant("0.0.0.0")]);
    let decision = decided(&asks("127.0.0.1"), &port);
    assert_eq!(decision.decided_by, Some(1));
    assert_eq!(decision.blockers.iter().map(|blocker| blocker.occupant).collect::<Vec<_>>(), [1, 2]);
    assert!(decision.blockers.iter().all(|blocker| blocker.rule == Rule::HolderLacksReuseport));
}

#[test]
fn with_two_lists_the_first_of_each_is_asked() {
    let exact = [member("127.0.0.1"), occupant("127.0.0.1")];
    let wildcards = [occupant("0.0.0.0"), member("0.0.0.0")];
    let both: Vec<Occupant> = exact.into_iter().chain(wildcards).collect();
    let decision = decided(&asks("127.0.0.1"), &udp_port(UdpScan::Address, both.clone()));
    assert_eq!((decision.refused, decision.decided_by), (true, Some(2)), "the second list still refuses");
    assert_eq!(decision.blockers.iter().map(|blocker| blocker.occupant).collect::<Vec<_>>(), [2, 1]);
    assert!(!decided(&asks("127.0.0.1"), &udp_port(UdpScan::Port, both)).refused, "in one list it does not");
}

#[test]
fn reuseaddr_on_both_shares_with_any_uid() {
    let asking = Contender { reuse: Reuse::Yes, reuseport: false, uid: 1000, ..asks("127.0.0.1") };
    for address in ["127.0.0.1", "0.0.0.0", "::"] {
        let holder = Occupant { reuse: Reuse::Yes, state: State::Connected, ..occupant(address) };
        let decision = decided(&asking, &udp_port(UdpScan::Port, [holder]));
        assert_eq!((decision.refused, decision.blockers.len()), (false, 0), "{address}");
    }
}

#[test]
fn reuseport_needs_one_uid_and_a_contender_in_no_group() {
    let port = udp_port(UdpScan::Port, [member("127.0.0.1")]);
    assert!(!decided(&asks("127.0.0.1"), &port).refused);
    for (asking, rule) in [
        (Contender { uid: 1000, ..asks("127.0.0.1") }, Rule::ReuseportUidMismatch),
        (Contender { in_group: true, ..asks("127.0.0.1") }, Rule::ReuseportProgramAttached),
        (
            Contender { in_group: true, group_has_closed: true, ..asks("127.0.0.1") },
            Rule::ReuseportProgramAttached,
        ),
        (Contender { reuseport: false, ..asks("127.0.0.1") }, Rule::ContenderLacksReuseport),
    ] {
        let decision = decided(&asking, &port);
        assert!(decision.refused);
        assert_eq!(decision.blockers[0].rule, rule);
    }
}

#[test]
fn a_connected_dual_stack_socket_stands_for_an_address_of_ipv4() {
    let connected = Occupant { v6only: false, state: State::Connected, ..occupant("::1") };
    let port = udp_port(UdpScan::Port, [connected]);
    assert!(decided(&asks("127.0.0.6"), &port).refused);
    assert!(decided(&asks("0.0.0.0"), &port).refused);
    assert!(!decided(&asks("127.0.0.1"), &port).refused);
}

#[test]
fn a_socket_more_is_in_the_slot_after_a_bind() {
    let port = after_bind(&kernel(), &asks("127.0.0.1"), &udp_port(UdpScan::Port, []));
    assert_eq!(port.table, Table::Udp { scan: UdpScan::Port, slot: 4 });
}
