//! TCP, case by case; each was tried on Linux 6.18.

use super::*;

fn refuses(asking: &Contender, port: &Port) -> bool {
    decide(&kernel(), Request::Bind, asking, port).refused
}

fn rule(asking: &Contender, holder: Occupant) -> Option<Rule> {
    decide(&kernel(), Request::Bind, asking, &tcp_port([holder])).blockers.first().map(|blocker| blocker.rule)
}

#[test]
fn addresses_overlap_as_the_kernel_compares_them() {
    use Overlap::{DualStack, SameAddress, WildcardContender, WildcardHolder};
    let v6only = |mut holder: Occupant| {
        holder.v6only = true;
        holder
    };
    for (asked, holder, expected) in [
        ("127.0.0.1", occupant("127.0.0.1"), Some(SameAddress)),
        ("127.0.0.1", occupant("127.0.0.2"), None),
        ("127.0.0.1", occupant("0.0.0.0"), Some(WildcardHolder)),
        ("0.0.0.0", occupant("127.0.0.1"), Some(WildcardContender)),
        ("0.0.0.0", occupant("0.0.0.0"), Some(SameAddress)),
        ("::1", occupant("::1"), Some(SameAddress)),
        ("::1", occupant("::2"), None),
        ("::1", occupant("::"), Some(WildcardHolder)),
        ("::1", v6only(occupant("::")), Some(WildcardHolder)),
        ("::", occupant("::1"), Some(WildcardContender)),
        ("::", v6only(occupant("::")), Some(SameAddress)),
        ("::1", occupant("0.0.0.0"), None),
        ("::1", occupant("127.0.0.1"), None),
        ("127.0.0.1", occupant("::1"), None),
        ("127.0.0.1", occupant("::"), Some(DualStack)),
        ("127.0.0.1", v6only(occupant("::")), None),
        ("0.0.0.0", occupant("::"), Some(DualStack)),
        ("0.0.0.0", v6only(occupant("::")), None),
        ("0.0.0.0", occupant("::1"), None),
        ("::", occupant("0.0.0.0"), Some(DualStack)),
        ("::", occupant("127.0.0.1"), Some(DualStack)),
        ("::", occupant("::ffff:127.0.0.1"), Some(DualStack)),
        ("::ffff:127.0.0.1", occupant("127.0.0.1"), Some(SameAddress)),
        ("::ffff:127.0.0.1", occupant("127.0.0.2"), None),
        ("::ffff:127.0.0.1", occupant("0.0.0.0"), Some(WildcardHolder)),
        ("::ffff:127.0.0.1", occupant("::"), Some(DualStack)),
        ("::ffff:127.0.0.1", v6only(occupant("::")), None),
        ("::ffff:0.0.0.0", occupant("127.0.0.1"), Some(WildcardContender)),
        ("::ffff:0.0.0.0", v6only(occupant("::")), None),
        ("::ffff:0.0.0.0", occupant("::1"), None),
        ("::1", occupant("::ffff:0.0.0.0"), None),
        ("127.0.0.1", occupant("::ffff:127.0.0.1"), Some(SameAddress)),
        ("127.0.0.1", occupant("::ffff:0.0.0.0"), Some(WildcardHolder)),
    ] {
        let name = format!("{asked} on {} (v6only {})", holder.address, holder.v6only);
        let decision = decide(&kernel(), Request::Bind, &contender(asked), &tcp_port([holder]));
        assert_eq!(decision.blockers.first().map(|blocker| blocker.overlap), expected, "{name}");
        assert_eq!(decision.refused, expected.is_some(), "{name}");
    }
    let asking = Contender { v6only: true, ..contender("::") };
    assert!(!refuses(&asking, &tcp_port([occupant("127.0.0.1")])), "IPV6_V6ONLY leaves IPv4 alone");
}

#[test]
fn a_connection_of_a_dual_stack_listener_is_in_the_way_of_all_ipv4() {
    // It keeps IPV6_V6ONLY clear and 127.0.0.6 for its IPv4 address.
    let child = |v6only| Occupant { v6only, state: State::Connected, ..occupant("::1") };
    assert!(refuses(&contender("0.0.0.0"), &tcp_port([child(false)])));
    assert!(!refuses(&contender("0.0.0.0"), &tcp_port([child(true)])), "of one with IPV6_V6ONLY");
    assert!(!refuses(&contender("127.0.0.6"), &tcp_port([child(false)])), "looked up by its real address");
}

#[test]
fn devices_part_sockets() {
    let on = |device| Contender { device, ..contender("0.0.0.0") };
    let held = |device| tcp_port([Occupant { device, ..occupant("0.0.0.0") }]);
    assert!(!refuses(&on(2), &held(3)));
    assert!(refuses(&on(2), &held(2)) && refuses(&on(0), &held(3)) && refuses(&on(2), &held(0)));
}

#[test]
fn time_wait_needs_the_same_option_on_both() {
    for (theirs, ours, refused) in
        [(false, false, true), (false, true, true), (true, false, true), (true, true, false)]
    {
        let reuse = |set| if set { Reuse::Yes } else { Reuse::No };
        let asking = Contender { reuse: reuse(ours), uid: 1000, ..contender("127.0.0.1") };
        let left = Occupant { reuse: reuse(theirs), ..time_wait("127.0.0.1") };
        assert_eq!(refuses(&asking, &tcp_port([left])), refused, "SO_REUSEADDR {theirs} and {ours}");
        let asking = Contender { reuseport: ours, uid: 1000, ..contender("127.0.0.1") };
        let left = Occupant { reuseport: theirs, ..time_wait("127.0.0.1") };
        assert_eq!(refuses(&asking, &tcp_port([left])), refused, "SO_REUSEPORT {theirs} and {ours}, any uid");
    }
    assert!(!refuses(&contender("127.0.0.2"), &tcp_port([time_wait("127.0.0.1")])));
    assert!(refuses(&contender("0.0.0.0"), &tcp_port([time_wait("127.0.0.1")])));
}

#[test]
fn options_are_looked_at_when_the_other_asks() {
    let reuse = |asking: &mut Contender, then: &mut Occupant| {
        asking.reuse = Reuse::Yes;
        then.reuse = Reuse::Yes;
    };
    let mut port = bound(&kernel(), &[socket("127.0.0.1", reuse)]);
    let (second, _) = socket("127.0.0.1", reuse);
    assert!(!refuses(&second, &port));
    port.occupants[0].reuse = Reuse::No;
    assert!(refuses(&second, &port), "cleared after bind");
    let mut port = bound(&kernel(), &[socket("127.0.0.1", |_, _| ())]);
    port.occupants[0].reuse = Reuse::Yes;
    assert!(!refuses(&second, &port), "set after bind");
}

#[test]
fn the_bucket_lets_pass_what_a_holder_would_refuse() {
    let address = |asking: &mut Contender, then: &mut Occupant| {
        asking.reuse = Reuse::Yes;
        then.reuse = Reuse::Yes;
    };
    let both = |asking: &mut Contender, then: &mut Occupant| {
        address(asking, then);
        asking.reuseport = true;
        then.reuseport = true;
    };
    let port = bound(&kernel(), &[socket("127.0.0.1", address), socket("127.0.0.1", both)]);
    let asking = Contender { reuseport: true, ..contender("127.0.0.1") };
    let decision = decide(&kernel(), Request::Bind, &asking, &port);
    assert!(!decision.refused);
    assert_eq!(decision.exemption, Some(Exemption::BucketCache));
    let rules: Vec<Rule> = decision.blockers.iter().map(|blocker| blocker.rule).collect();
    assert_eq!(rules, [Rule::HolderLacksReuseport], "asked alone the first would refuse");
    for (what, other) in [
        ("another uid", Contender { uid: 1000, ..asking.clone() }),
        ("another address", Contender { address: of("127.0.0.2").1, ..asking.clone() }),
        ("a group of its own", Contender { in_group: true, ..asking.clone() }),
        ("no option", Contender { reuseport: false, ..asking.clone() }),
    ] {
        let exempt = decide(&kernel(), Request::Bind, &other, &port).exemption;
        assert_eq!(exempt, None, "{what}");
    }
}

#[test]
fn the_bucket_remembers_the_last_that_shared() {
    let port = |bucket| Port { table: Table::Tcp(bucket), ..tcp_port([]) };
    let remembered = |asking: &Contender, bucket| match after_bind(&kernel(), asking, &port(bucket)).table {
        Table::Tcp(Some(bucket)) => bucket,
        table => panic!("{table:?}"),
    };
    let sharing = Contender { reuse: Reuse::Yes, reuseport: true, uid: 7, ..contender("::1") };
    let first = remembered(&sharing, None);
    assert_eq!((first.fastreuse, first.fastreuseport, first.fastuid), (0, 2, 7));
    assert!(first.fast_address.v6only, "as bind() made it");
    let same = remembered(&sharing, Some(first));
    assert_eq!(same, first, "kept while it matches");
    let other = remembered(&Contender { uid: 8, ..sharing.clone() }, Some(first));
    assert_eq!((other.fastreuseport, other.fastuid), (2, 8));
    let none = remembered(&contender("::1"), Some(first));
    assert_eq!(none.fastreuseport, 0, "one without the option ends it");
    let connections = Bucket { fastreuse: -1, fastreuseport: -1, ..first };
    assert_eq!(remembered(&sharing, Some(connections)).fastreuse, -1);
    assert_eq!(remembered(&contender("::1"), Some(connections)).fastreuse, 0);
}

#[test]
fn two_that_bound_with_reuseaddr_cannot_both_listen() {
    for (first, second) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")] {
        let asking = Contender { reuse: Reuse::Yes, uid: 1000, ..contender(second) };
        let mut holder = Occupant { reuse: Reuse::Yes, ..occupant(first) };
        assert!(!refuses(&asking, &tcp_port([holder.clone()])), "across uids");
        holder.state = State::Listen;
        for request in [Request::Bind, Request::Listen] {
            let decision = decide(&kernel(), request, &asking, &tcp_port([holder.clone()]));
            assert!(decision.refused);
            assert_eq!(decision.blockers[0].rule, Rule::HolderIsListening);
        }
    }
}

#[test]
fn listen_looks_at_reuseaddr_but_not_at_what_the_bucket_says_of_it() {
    let mut port = tcp_port([Occupant { state: State::Connected, ..occupant("127.0.0.1") }]);
    if let Table::Tcp(Some(bucket)) = &mut port.table {
        bucket.fastreuse = 1;
    }
    let asking = Contender { reuse: Reuse::Yes, ..contender("127.0.0.1") };
    assert!(!decide(&kernel(), Request::Bind, &asking, &port).refused);
    assert!(decide(&kernel(), Request::Listen, &asking, &port).refused);
    port.occupants[0].reuse = Reuse::Yes;
    assert!(!decide(&kernel(), Request::Listen, &asking, &port).refused);
}

#[test]
fn repair_skips_every_check() {
    let listener = Occupant { state: State::Listen, uid: Some(5), ..occupant("127.0.0.1") };
    for request in [Request::Bind, Request::Listen] {
        let asking = Contender { reuse: Reuse::Forced, ..contender("127.0.0.1") };
        let decision = decide(&kernel(), request, &asking, &tcp_port([listener.clone()]));
        assert_eq!((decision.refused, decision.exemption), (false, Some(Exemption::Repair)));
        assert_eq!(decision.blockers.len(), 1);
    }
}

#[test]
fn a_contender_with_a_program_can_only_be_first() {
    let asking = Contender { reuseport: true, in_group: true, ..contender("127.0.0.1") };
    assert!(!refuses(&asking, &tcp_port([])));
    let member = Occupant { reuseport: true, ..occupant("127.0.0.1") };
    assert_eq!(rule(&asking, member.clone()), Some(Rule::ReuseportProgramAttached));
    let migrating = Contender { group_has_closed: true, ..asking.clone() };
    assert_eq!(rule(&migrating, member), None, "a group with closed members is let in");
    let left = Occupant { reuseport: true, ..time_wait("127.0.0.1") };
    assert_eq!(rule(&asking, left), Some(Rule::ReuseportProgramAttached));
}

#[test]
fn an_explicit_bind_forces_v6only_on_a_pure_ipv6_address_alone() {
    let fast = |address: &str| {
        let mut port = tcp_port([Occupant { uid: Some(9), ..occupant("::1") }]);
        if let Table::Tcp(Some(bucket)) = &mut port.table {
            bucket.fastreuseport = 2;
            bucket.fast_address = FastAddress { family: Family::Ipv4, address: of(address).1, v6only: false };
        }
        port
    };
    let asking = Contender { reuseport: true, ..contender("::1") };
    // Against a wildcard of IPv4 only IPV6_V6ONLY keeps the bucket from matching.
    assert!(refuses(&asking, &fast("0.0.0.0")));
    assert!(decide(&kernel(), Request::Listen, &asking, &fast("0.0.0.0")).refused, "listen finds it so");
}
