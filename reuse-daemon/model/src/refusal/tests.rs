//! Which errno means which rule.

use std::net::IpAddr;

mod holders;

use std::sync::Arc;

use super::*;
use crate::{
    event::{Circumstances, Evidence},
    fixtures::{call, facts, kernel, refusal},
    port::{Port, Reuse},
    rulebook::{Features, Release},
    socket::{SocketFacts, State},
};

/// A refused bind of an unbound socket to `127.0.0.1:port`.
fn refused_bind(errno: i32, port: u16) -> Call {
    Call { socket: Some(facts(1, 0)), ..call(Phase::Bind, errno, 10, 1, facts(1, port)) }
}

fn rule_of(call: &Call) -> Option<(Rule, Confidence)> {
    Refusal::of(call, &kernel(), Remembered::default).map(|refusal| (refusal.rule, refusal.confidence))
}

#[test]
fn each_errno_of_bind_has_its_rule() {
    use Confidence::{BestEvidence, Exact};
    for (errno, port, expected) in [
        (98, 8080, (Rule::Unknown, BestEvidence)),
        (98, 0, (Rule::EphemeralPortsExhausted, Exact)),
        (99, 8080, (Rule::AddressNotLocal, Exact)),
        (13, 80, (Rule::PrivilegedPort, BestEvidence)),
        (13, 1024, (Rule::SecurityModule, BestEvidence)),
        (13, 0, (Rule::SecurityModule, BestEvidence)),
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

/// A caller that no filter, program or privilege concerns.
const PLAIN: Circumstances = Circumstances {
    seccomp_filter: false,
    cgroup_program: false,
    may_bind_privileged: false,
    unprivileged_port_start: 1024,
};

fn evidence(circumstances: impl Into<Option<Circumstances>>, port: Option<Port>) -> Option<Arc<Evidence>> {
    let circumstances = circumstances.into();
    let (reuse, in_group, group_has_closed) = (Reuse::No, false, false);
    Some(Arc::new(Evidence { circumstances, reuse, in_group, group_has_closed, subflow_uid: None, port }))
}

#[test]
fn what_is_true_of_the_caller_tells_the_checks_apart() {
    use Confidence::{BestEvidence, Exact};
    let filter = Circumstances { seccomp_filter: true, ..PLAIN };
    let program = Circumstances { cgroup_program: true, ..PLAIN };
    let both = Circumstances { seccomp_filter: true, ..program };
    let privileged = Circumstances { may_bind_privileged: true, ..PLAIN };
    let (bind, listen) = (Phase::Bind, Phase::Listen);
    for (phase, errno, port, circumstances, expected) in [
        (bind, 1, 8080, program, (Rule::CgroupProgram, Exact)),
        (bind, 1, 8080, filter, (Rule::Seccomp, Exact)),
        (bind, 1, 8080, both, (Rule::CgroupProgram, BestEvidence)),
        (bind, 1, 8080, PLAIN, (Rule::SecurityModule, BestEvidence)),
        (listen, 1, 8080, both, (Rule::Seccomp, Exact)),
        (listen, 1, 8080, program, (Rule::SecurityModule, BestEvidence)),
        (bind, 13, 80, PLAIN, (Rule::PrivilegedPort, Exact)),
        (bind, 13, 80, privileged, (Rule::SecurityModule, Exact)),
        (bind, 13, 1024, PLAIN, (Rule::SecurityModule, Exact)),
        (bind, 13, 0, PLAIN, (Rule::SecurityModule, Exact)),
        (bind, 13, 80, Circumstances { seccomp_filter: true, ..privileged }, (Rule::Seccomp, BestEvidence)),
        (bind, 13, 80, Circumstances { unprivileged_port_start: 80, ..PLAIN }, (Rule::SecurityModule, Exact)),
        (
            bind,
            13,
            2000,
            Circumstances { unprivileged_port_start: 3000, ..PLAIN },
            (Rule::PrivilegedPort, Exact),
        ),
        (listen, 13, 8080, PLAIN, (Rule::SecurityModule, Exact)),
        (listen, 13, 8080, filter, (Rule::Seccomp, BestEvidence)),
        (bind, 38, 8080, filter, (Rule::Seccomp, BestEvidence)),
        (listen, 38, 8080, filter, (Rule::Seccomp, BestEvidence)),
        (bind, 38, 8080, program, (Rule::CgroupProgram, BestEvidence)),
        (listen, 38, 8080, program, (Rule::Unknown, BestEvidence)),
        (bind, 38, 8080, PLAIN, (Rule::Unknown, BestEvidence)),
        (bind, 22, 8080, filter, (Rule::Seccomp, BestEvidence)),
    ] {
        let refused = match phase {
            Phase::Bind => refused_bind(errno, port),
            phase => call(phase, errno, 10, 1, facts(1, port)),
        };
        let refused = Call { evidence: evidence(circumstances, None), ..refused };
        assert_eq!(rule_of(&refused), Some(expected), "{phase:?} {errno} {port} {circumstances:?}");
    }
    for (errno, port, expected) in [
        (13, 80, Rule::PrivilegedPort),
        (13, 1024, Rule::SecurityModule),
        (1, 8080, Rule::CgroupProgram),
        (38, 8080, Rule::Unknown),
    ] {
        let unseen = Call { evidence: evidence(None, None), ..refused_bind(errno, port) };
        assert_eq!(rule_of(&unseen), Some((expected, BestEvidence)), "{errno} {port}, nobody looked");
    }
    let policed = Features { mandatory_access_control: true, ..Features::default() };
    let policed = Kernel::new(Release::NEWEST, policed);
    let denied = Call { evidence: evidence(filter, None), ..refused_bind(13, 8080) };
    let refusal_there = Refusal::of(&denied, &policed, Remembered::default).expect("refused");
    assert_eq!((refusal_there.rule, refusal_there.confidence), (Rule::SecurityModule, BestEvidence));
    let exact = |circumstances| {
        refusal(&Call { evidence: evidence(circumstances, None), ..refused_bind(1, 80) }).remedy()
    };
    assert!(exact(program).contains("forbids bind() on 127.0.0.1:80"), "{}", exact(program));
    assert!(exact(filter).starts_with("A seccomp filter forbids bind()"), "{}", exact(filter));
    let low = refusal(&Call { evidence: evidence(PLAIN, None), ..refused_bind(13, 80) }).remedy();
    assert!(!low.contains("security module"), "{low}");
}

#[test]
fn an_errno_that_contradicts_the_call_is_not_the_kernels() {
    let filter = Circumstances { seccomp_filter: true, ..PLAIN };
    let wildcard = |call: Call| {
        let any = IpAddr::from([0, 0, 0, 0]);
        Call { requested: call.requested.map(|asked| Endpoint { address: any, ..asked }), ..call }
    };
    for (refused, expected) in [
        (refused_bind(9, 8080), Rule::Seccomp),
        (refused_bind(14, 8080), Rule::Seccomp),
        (refused_bind(19, 8080), Rule::Seccomp),
        (refused_bind(22, 8080), Rule::Seccomp),
        (wildcard(refused_bind(97, 8080)), Rule::Seccomp),
        (wildcard(refused_bind(99, 8080)), Rule::Seccomp),
        (call(Phase::Listen, 95, 10, 1, facts(1, 8080)), Rule::Seccomp),
        (refused_bind(99, 8080), Rule::AddressNotLocal),
        (call(Phase::Bind, 22, 10, 1, facts(1, 8080)), Rule::AlreadyBound),
        (Call { requested: None, ..refused_bind(22, 8080) }, Rule::InvalidAddress),
    ] {
        let filtered = Call { evidence: evidence(filter, None), ..refused.clone() };
        assert_eq!(rule_of(&filtered).map(|(rule, _)| rule), Some(expected), "{refused:?}");
        let plain = Call { evidence: evidence(PLAIN, None), ..refused };
        assert_ne!(rule_of(&plain).map(|(rule, _)| rule), Some(Rule::Seccomp), "no filter, no answer of one");
    }
    let exhausted = Call { evidence: evidence(filter, None), ..refused_bind(98, 0) };
    assert_eq!(rule_of(&exhausted), Some((Rule::EphemeralPortsExhausted, Confidence::BestEvidence)));
}
