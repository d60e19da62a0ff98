//! What other kernels than 6.18 decide.

use super::*;

/// A kernel from 6.2 to 6.7, or late in 6.1: buckets by address that know TIME_WAIT, the older bucket's memory,
/// `sock_i_uid`.
fn before_6_8(minor: u16, patch: u16) -> Kernel {
    let features = Features {
        sock_i_uid: true,
        inet_bind2_bucket: true,
        deathrow: true,
        bhash2: false,
        ..Features::default()
    };
    Kernel::new(Release { major: 6, minor, patch }, features)
}

fn old() -> Kernel {
    before_6_8(7, 12)
}

fn refuses(kernel: &Kernel, asking: &Contender, port: &Port) -> bool {
    decide(kernel, Request::Bind, asking, port).refused
}

#[test]
fn up_to_6_7_the_first_bind_opens_the_bucket() {
    let reuse = |asking: &mut Contender, then: &mut Occupant| {
        asking.reuse = Reuse::Yes;
        then.reuse = Reuse::Yes;
    };
    for (kernel, refused) in [(old(), false), (kernel(), true)] {
        let mut port = bound(&kernel, &[socket("127.0.0.1", reuse)]);
        port.occupants[0].reuse = Reuse::No;
        let (second, _) = socket("127.0.0.1", reuse);
        assert_eq!(refuses(&kernel, &second, &port), refused, "{kernel:?}");
    }
    let share = |asking: &mut Contender, then: &mut Occupant| {
        asking.reuseport = true;
        then.reuseport = true;
    };
    for (kernel, fastreuseport) in [(old(), 1), (kernel(), 2)] {
        let Table::Tcp(Some(bucket)) = bound(&kernel, &[socket("127.0.0.1", share)]).table else {
            panic!("no bucket")
        };
        assert_eq!(bucket.fastreuseport, fastreuseport);
    }
}

#[test]
fn up_to_6_16_what_nobody_has_counts_as_of_root() {
    let orphan = Occupant {
        reuseport: true,
        uid: Some(1000),
        state: State::Closing,
        tenure: Tenure::Orphan,
        ..occupant("127.0.0.1")
    };
    let port = tcp_port([orphan]);
    let asking = |uid| Contender { reuseport: true, uid, ..contender("127.0.0.1") };
    assert!(refuses(&old(), &asking(1000), &port) && !refuses(&old(), &asking(0), &port));
    assert!(!refuses(&kernel(), &asking(1000), &port) && refuses(&kernel(), &asking(0), &port));
}

#[test]
fn buckets_by_address_do_not_see_everything_at_first() {
    let features = Features { inet_bind2_bucket: true, sock_i_uid: true, ..Features::default() };
    let first = Kernel::new(Release { major: 6, minor: 1, patch: 0 }, features);
    for (asked, holder) in [
        ("127.0.0.1", time_wait("127.0.0.1")),
        ("127.0.0.1", occupant("::")),
        ("127.0.0.1", occupant("::ffff:127.0.0.1")),
        ("127.0.0.1", occupant("::ffff:0.0.0.0")),
    ] {
        let port = tcp_port([holder]);
        assert!(!refuses(&first, &contender(asked), &port), "{port:?}");
        assert!(refuses(&kernel(), &contender(asked), &port), "{port:?}");
    }
    assert!(refuses(&first, &contender("0.0.0.0"), &tcp_port([time_wait("127.0.0.1")])));
}

#[test]
fn before_6_1_every_socket_is_asked() {
    let before = Kernel::new(
        Release { major: 5, minor: 15, patch: 0 },
        Features { sock_i_uid: true, ..Features::default() },
    );
    let child = Occupant { v6only: false, state: State::Connected, ..occupant("::1") };
    let port = tcp_port([child]);
    assert!(refuses(&before, &contender("127.0.0.6"), &port));
    assert!(!refuses(&kernel(), &contender("127.0.0.6"), &port));
}

#[test]
fn in_late_6_1_a_mapped_address_does_not_meet_the_mapped_wildcard() {
    for (kernel, refused) in [
        (before_6_8(1, 167), true),
        (before_6_8(1, 168), false),
        (before_6_8(6, 130), true),
        (before_6_8(6, 131), false),
        (old(), true),
        (kernel(), true),
    ] {
        let port = tcp_port([occupant("::ffff:0.0.0.0")]);
        assert_eq!(refuses(&kernel, &contender("::ffff:127.0.0.2"), &port), refused, "{kernel:?}");
        assert!(refuses(&kernel, &contender("127.0.0.2"), &port), "as IPv4 it does");
        assert!(refuses(&kernel, &contender("::ffff:0.0.0.0"), &port), "a wildcard asks every socket");
        assert!(!refuses(&kernel, &contender("::1"), &port), "of another family");
        for holder in ["0.0.0.0", "::", "::ffff:127.0.0.2", "127.0.0.2"] {
            let port = tcp_port([occupant(holder)]);
            assert!(refuses(&kernel, &contender("::ffff:127.0.0.2"), &port), "{holder}");
        }
    }
}

#[test]
fn in_late_6_1_the_first_socket_gives_the_bucket_of_all_ipv4_addresses_its_family() {
    let share = |asking: &mut Contender, then: &mut Occupant| {
        asking.reuseport = true;
        then.reuseport = true;
    };
    let sockets = [socket("0.0.0.0", share), socket("::ffff:0.0.0.0", share)];
    let asking = contender("::ffff:127.0.0.2");
    for (kernel, ipv6_first_refused) in
        [(before_6_8(1, 168), false), (before_6_8(1, 167), true), (kernel(), true)]
    {
        let port = bound(&kernel, &sockets);
        assert!(refuses(&kernel, &asking, &port), "IPv4 came first: {kernel:?}");
        let [v4, v6] = sockets.clone();
        let port = bound(&kernel, &[v6, v4]);
        assert_eq!(refuses(&kernel, &asking, &port), ipv6_first_refused, "IPv6 came first: {kernel:?}");
    }
}

#[test]
fn a_mapped_address_saw_time_wait_before_the_buckets_did() {
    let early = Features { inet_bind2_bucket: true, sock_i_uid: true, ..Features::default() };
    let early = Kernel::new(Release { major: 6, minor: 1, patch: 4 }, early);
    let port = tcp_port([time_wait("127.0.0.1")]);
    assert!(refuses(&early, &contender("::ffff:127.0.0.1"), &port), "it asks every socket on the port");
    assert!(!refuses(&early, &contender("127.0.0.1"), &port));
}

#[test]
fn in_6_8_a_mapped_address_met_a_wildcard_of_ipv6_alone() {
    let features = Features {
        sock_i_uid: true,
        inet_bind2_bucket: true,
        deathrow: false,
        bhash2: true,
        ..Features::default()
    };
    let port = tcp_port([Occupant { v6only: true, ..occupant("::") }]);
    for (patch, refused) in [(0, true), (5, false)] {
        let kernel = Kernel::new(Release { major: 6, minor: 8, patch }, features);
        assert_eq!(refuses(&kernel, &contender("::ffff:127.0.0.1"), &port), refused, "6.8.{patch}");
        assert!(!refuses(&kernel, &contender("127.0.0.1"), &port));
    }
}

#[test]
fn a_crowded_udp_wildcard_missed_specific_addresses() {
    let asking = Contender { transport: Transport::Udp, ..contender("0.0.0.0") };
    let mut port = udp_port(UdpScan::Port, [occupant("127.0.0.1")]);
    port.table = Table::Udp { scan: UdpScan::Port, slot: 11 };
    assert!(!refuses(&old(), &asking, &port) && refuses(&kernel(), &asking, &port));
    port.occupants.push(occupant("0.0.0.0"));
    assert!(refuses(&old(), &asking, &port));
}
