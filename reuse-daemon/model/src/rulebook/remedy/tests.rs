//! What the operator reads.

use std::time::Duration;

use super::*;
use crate::{
    fixtures::kernel,
    port::{Reuse, UdpScan},
    rulebook::{
        Request, decide,
        tests::{contender, occupant, tcp_port, time_wait, udp_port},
    },
};

fn said(asking: &Contender, port: &Port) -> Vec<String> {
    let decision = decide(&kernel(), Request::Bind, asking, port);
    sentences(&kernel(), asking, 8080, port, &decision.blockers)
}

fn tcp(asking: &Contender, holders: impl Into<Vec<Occupant>>) -> String {
    said(asking, &tcp_port(holders)).join(" ")
}

fn listener(address: &str) -> Occupant {
    Occupant { state: State::Listen, ..occupant(address) }
}

#[test]
fn each_rule_has_its_sentence() {
    let reuseport = Contender { reuseport: true, ..contender("127.0.0.1") };
    let reuseaddr = Contender { reuse: Reuse::Yes, ..contender("127.0.0.1") };
    let member = Occupant { reuseport: true, ..listener("0.0.0.0") };
    let orphan = Occupant {
        state: State::Closing,
        tenure: Tenure::Orphan,
        reuse: Reuse::Yes,
        ..occupant("127.0.0.1")
    };
    let left = Occupant { expires_in: Some(Duration::from_millis(41_200)), ..time_wait("127.0.0.1") };
    for (asking, holder, expected) in [
        (
            Contender { uid: 1000, ..reuseport.clone() },
            member.clone(),
            "SO_REUSEPORT shares among sockets of one uid only: create the new socket under uid 0, that of the \
             listener on 0.0.0.0:8080; or stop it.",
        ),
        (
            Contender { in_group: true, ..reuseport.clone() },
            member.clone(),
            "The new socket had a reuseport program too early: make it again and attach its program only after \
             listen(); or stop the listener on 0.0.0.0:8080.",
        ),
        (
            reuseaddr.clone(),
            listener("127.0.0.1"),
            "Stop the listener on 127.0.0.1:8080 (SO_REUSEADDR never shares a port with a listener); or set \
             SO_REUSEPORT on it and on the new socket.",
        ),
        (
            contender("127.0.0.1"),
            occupant("127.0.0.1"),
            "Stop the socket on 127.0.0.1:8080; or take another address or port; or set SO_REUSEADDR on it and on \
             the new socket; or set SO_REUSEPORT on it and on the new socket.",
        ),
        (
            reuseport.clone(),
            listener("127.0.0.1"),
            "Set SO_REUSEPORT on the listener on 127.0.0.1:8080 (it counts at once, even while it listens); or stop \
             it.",
        ),
        (
            contender("127.0.0.1"),
            member,
            "Set SO_REUSEPORT on the new socket; or stop the listener on 0.0.0.0:8080.",
        ),
        (
            reuseaddr.clone(),
            Occupant { state: State::Connected, ..occupant("127.0.0.1") },
            "Set SO_REUSEADDR on the connection on 127.0.0.1:8080; or end it and wait until it has left TIME_WAIT.",
        ),
        (
            contender("::1"),
            Occupant { reuse: Reuse::Yes, ..occupant("::") },
            "Set SO_REUSEADDR on the new socket; or stop the socket on [::]:8080.",
        ),
        (
            contender("127.0.0.1"),
            orphan,
            "Wait until the closing connection on 127.0.0.1:8080 is gone, TIME_WAIT included; or set SO_REUSEADDR \
             on the new socket.",
        ),
        (
            reuseaddr,
            left.clone(),
            "Wait 42 s until the connection in TIME_WAIT on 127.0.0.1:8080 is gone; a server that sets \
             SO_REUSEADDR from its start does not meet this again.",
        ),
        (
            contender("127.0.0.1"),
            Occupant { reuse: Reuse::Yes, expires_in: None, ..left },
            "Wait at most 60 s until the connection in TIME_WAIT on 127.0.0.1:8080 is gone; or set SO_REUSEADDR on \
             the new socket.",
        ),
    ] {
        assert_eq!(tcp(&asking, [holder]), expected);
    }
}

#[test]
fn all_that_is_missing_for_one_way_is_said() {
    let asking = Contender { in_group: true, ..contender("127.0.0.1") };
    let foreign = Occupant { uid: Some(1000), ..listener("127.0.0.1") };
    assert_eq!(
        tcp(&asking, [foreign]),
        "Stop the listener on 127.0.0.1:8080 (SO_REUSEADDR never shares a port with a listener); or set SO_REUSEPORT \
         on it and on the new socket, and create the new socket under uid 1000, the holder's, and attach its \
         program only after listen()."
    );
    let own = tcp(&asking, [listener("127.0.0.1")]);
    assert!(
        own.ends_with("and make the new socket again and attach its program only after listen()."),
        "{own}"
    );
}

#[test]
fn a_udp_remedy_by_reuseaddr_says_what_it_opens() {
    let asking = Contender { transport: Transport::Udp, ..contender("127.0.0.1") };
    let port = udp_port(UdpScan::Port, [Occupant { reuse: Reuse::Yes, ..occupant("0.0.0.0") }]);
    assert_eq!(
        said(&asking, &port).join(" "),
        "Set SO_REUSEADDR on the new socket (any user can then take the port's traffic); or stop the socket on \
         0.0.0.0:8080."
    );
}

#[test]
fn holders_of_one_rule_share_a_sentence() {
    let left = |address, seconds| Occupant {
        reuse: Reuse::Yes,
        expires_in: Some(Duration::from_secs(seconds)),
        ..time_wait(address)
    };
    let port = tcp_port([left("127.0.0.1", 10), listener("127.0.0.1"), left("127.0.0.2", 30)]);
    assert_eq!(
        said(&contender("0.0.0.0"), &port),
        [
            "Stop the listener on 127.0.0.1:8080 (SO_REUSEADDR never shares a port with a listener); or set \
             SO_REUSEPORT on it and on the new socket.",
            "Wait 30 s until the 2 connections in TIME_WAIT on port 8080 are gone; or set SO_REUSEADDR on the new \
             socket.",
        ]
    );
}

#[test]
fn what_nobody_can_do_is_not_said() {
    let queued = Occupant { state: State::Connected, tenure: Tenure::Unaccepted, ..occupant("127.0.0.1") };
    assert_eq!(
        tcp(&Contender { reuse: Reuse::Yes, ..contender("127.0.0.1") }, [queued]),
        "Accept the connection that waits to be accepted on 127.0.0.1:8080, and set SO_REUSEADDR on it; or close the \
         listener."
    );
    let kernel = Occupant { kernel: true, ..listener("127.0.0.1") };
    assert_eq!(
        tcp(&contender("127.0.0.1"), [kernel]),
        "Shut down the kernel service behind the listener on 127.0.0.1:8080 (SO_REUSEADDR never shares a port with a \
         listener)."
    );
}

#[test]
fn no_uid_is_named_where_holders_differ_in_theirs() {
    let asking = Contender { uid: 5, reuseport: true, ..contender("127.0.0.1") };
    let member = |uid| Occupant { reuseport: true, uid: Some(uid), ..listener("127.0.0.1") };
    let one = tcp(&asking, [member(1000), member(1000)]);
    assert!(one.contains("under uid 1000, that of the 2 listeners on 127.0.0.1:8080"), "{one}");
    let two = tcp(&asking, [member(1000), member(1001)]);
    assert!(!two.contains("under uid"), "{two}");
    let sharing = tcp(&asking, [member(1000), member(5)]);
    assert!(!sharing.contains("under uid"), "it would no longer share with the other: {sharing}");
}
