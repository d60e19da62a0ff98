//! Which errno means which rule.

use std::net::IpAddr;

use super::*;
use crate::{
    fixtures::{call, facts, kernel, refusal},
    socket::{SocketFacts, State},
};

/// A refused bind of an unbound socket to `127.0.0.1:port`.
fn refused_bind(errno: i32, port: u16) -> Call {
    Call { socket: Some(facts(1, 0)), ..call(Phase::Bind, errno, 10, 1, facts(1, port)) }
}

fn rule_of(call: &Call) -> Option<(Rule, Confidence)> {
    Refusal::of(call, &kernel(), Vec::new).map(|refusal| (refusal.rule, refusal.confidence))
}

#[test]
fn each_errno_of_bind_has_its_rule() {
    use Confidence::{BestEvidence, Exact};
    for (errno, port, expected) in [
        (98, 8080, (Rule::Unknown, BestEvidence)),
        (98, 0, (Rule::EphemeralPortsExhausted, Exact)),
        (99, 8080, (Rule::AddressNotLocal, Exact)),
        (13, 80, (Rule::PrivilegedPort, BestEvidence)),
        (13, 1024, (Rule::SecurityModule, Exact)),
        (13, 0, (Rule::SecurityModule, Exact)),
        (22, 8080, (Rule::InvalidAddress, Exact)),
        (1, 8080, (Rule::CgroupProgram, BestEvidence)),
        (12, 8080, (Rule::KernelResource, Exact)),
        (19, 8080, (Rule::DeviceGone, Exact)),
        (97, 8080, (Rule::Unsupported, Exact)),
        (14, 8080, (Rule::BadArguments, Exact)),
        (38, 8080, (Rule::Unknown, BestEvidence)),
    ] {
        assert_eq!(rule_of(&refused_bind(errno, port)), Some(expected), "errno {errno}, port {port}");
    }
}

#[test]
fn each_errno_of_listen_has_its_rule() {
    for (errno, port, expected) in [
        (98, 8080, Rule::Unknown),
        (98, 0, Rule::EphemeralPortsExhausted),
        (13, 80, Rule::SecurityModule),
        (22, 8080, Rule::WrongState),
        (1, 8080, Rule::Seccomp),
        (16, 8080, Rule::KernelResource),
        (95, 8080, Rule::Unsupported),
    ] {
        let seen = rule_of(&call(Phase::Listen, errno, 10, 1, facts(1, port)));
        assert_eq!(seen.map(|(rule, _)| rule), Some(expected), "errno {errno}, port {port}");
    }
}

#[test]
fn a_socket_with_an_address_is_already_bound() {
    let bound = call(Phase::Bind, 22, 10, 1, facts(1, 8080));
    assert_eq!(rule_of(&bound), Some((Rule::AlreadyBound, Confidence::Exact)));
    let connected = SocketFacts { state: State::Connected, ..facts(1, 0) };
    let connected = Call { socket: Some(connected), ..refused_bind(22, 8080) };
    assert_eq!(rule_of(&connected), Some((Rule::AlreadyBound, Confidence::Exact)));
}

#[test]
fn other_families_and_successes_are_not_explained() {
    assert_eq!(rule_of(&call(Phase::Bind, 0, 10, 1, facts(1, 80))), None);
    let no_socket = |errno| Call { socket: None, requested: None, ..refused_bind(errno, 80) };
    assert_eq!(rule_of(&no_socket(98)), None, "a socket of another family");
    assert_eq!(rule_of(&no_socket(9)), Some((Rule::BadArguments, Confidence::Exact)));
    assert_eq!(rule_of(&no_socket(88)), Some((Rule::BadArguments, Confidence::Exact)));
}

#[test]
fn remedies_name_the_address_and_port() {
    let remedy = |call: &Call| refusal(call).remedy();
    let privileged = remedy(&refused_bind(13, 80));
    for part in ["Port 80", "CAP_NET_BIND_SERVICE", "net.ipv4.ip_unprivileged_port_start to 80"] {
        assert!(privileged.contains(part), "{privileged}");
    }
    let mut foreign = refused_bind(99, 8080);
    foreign.requested =
        Some(Endpoint { address: "2001:db8::1".parse::<IpAddr>().expect("address"), port: 8080 });
    let foreign = remedy(&foreign);
    assert!(foreign.contains("2001:db8::1 is on no interface") && foreign.contains("[::]:8080"), "{foreign}");
    let in_use = remedy(&refused_bind(98, 8080));
    assert!(in_use.contains("127.0.0.1:8080"), "{in_use}");
    let bound = remedy(&call(Phase::Bind, 22, 10, 1, facts(1, 8080)));
    assert!(bound.contains("bound to 127.0.0.1:8080 already"), "{bound}");
    let denied = remedy(&refused_bind(1, 8080));
    assert!(denied.contains("cannot be told"), "{denied}");
    for errno in 1..134 {
        for refused in [refused_bind(errno, 80), call(Phase::Listen, errno, 10, 1, facts(1, 80))] {
            let sentence = remedy(&refused);
            assert!(sentence.ends_with('.') && !sentence.contains("  "), "errno {errno}: {sentence}");
        }
    }
}
