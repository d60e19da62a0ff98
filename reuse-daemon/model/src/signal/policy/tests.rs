use proptest::prelude::*;

use super::*;
use crate::{
    endpoint::{Endpoint, Protocol, Transport},
    event::Moment,
    fixtures::{comm, facts},
    inventory::{Owner, PortKey, Socket},
    process::Process,
    signal::{Kind, Party, Role},
    socket::SocketFacts,
};

/// A party: the uid of its socket, and service and executable of each owner.
type Who<'a> = (u32, &'a [(&'a str, &'a str)]);

const WEB: Who<'_> = (33, &[("web.service", "nginx"), ("web.service", "nginx")]);
const NEXT: Who<'_> = (33, &[("next.service", "caddy")]);
const STRANGER: Who<'_> = (1000, &[("stranger", "nginx")]);
const NOBODY: Who<'_> = (33, &[]);

fn party(&(uid, owners): &Who<'_>) -> Party {
    let owner = |(service, executable): &(&str, &str)| {
        let process = Process {
            service: Arc::from(*service),
            executable: Arc::from(*executable),
            ..Process::from_comm(7, comm("x"), uid)
        };
        Owner { process: Arc::new(process), comm: comm("x"), fds: Vec::new(), seen: Moment(1) }
    };
    let socket = Socket {
        owners: owners.iter().map(owner).collect(),
        ..Socket::found(SocketFacts { uid, ..facts(5, 80) }, Moment(1))
    };
    Party { role: Role::Member, socket: Arc::new(socket), overlap: None, selections: None }
}

/// A handover of TCP `127.0.0.1:80` in the namespace `host` between these.
fn case(parties: &[Who<'_>]) -> Case {
    let facts = facts(5, 80);
    Case {
        kind: Kind::TakeoverAfterClose,
        severity: Severity::Warning,
        port: PortKey { netns: facts.netns, transport: Transport::Tcp, port: 80 },
        protocol: Protocol::Tcp,
        endpoint: Endpoint { address: [127, 0, 0, 1].into(), port: 80 },
        parties: parties.iter().map(party).collect(),
        since: Moment(1),
        until: None,
        found: false,
        seen: String::new(),
    }
}

fn host(_: NetNs) -> Arc<str> {
    Arc::from("host")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().copied().map(str::to_owned).collect()
}

fn judge(criteria: Criteria, case: &Case) -> Option<Severity> {
    Policy { expected: vec![criteria], ..Policy::default() }.judge(case, &host)
}

#[test]
fn each_criterion_asks_for_itself() {
    let none = Criteria::default;
    let address = |text: &str| vec![text.parse().expect("address")];
    let handover = case(&[WEB, NEXT]);
    for (criteria, fits) in [
        (none(), true),
        (Criteria { signals: vec![Kind::JoinRefused, Kind::TakeoverAfterClose], ..none() }, true),
        (Criteria { signals: vec![Kind::JoinRefused], ..none() }, false),
        (Criteria { protocols: vec![Transport::Tcp], ..none() }, true),
        (Criteria { protocols: vec![Transport::Udp], ..none() }, false),
        (Criteria { addresses: address("127.0.0.1"), ..none() }, true),
        (Criteria { addresses: address("::ffff:127.0.0.1"), ..none() }, true),
        (Criteria { addresses: address("0.0.0.0"), ..none() }, false),
        (Criteria { ports: vec![443..=443, 80..=80], ..none() }, true),
        (Criteria { ports: vec![1..=80], ..none() }, true),
        (Criteria { ports: vec![81..=443], ..none() }, false),
        (Criteria { netns: words(&["blue", "host"]), ..none() }, true),
        (Criteria { netns: words(&["blue"]), ..none() }, false),
        (Criteria { services: words(&["web.service", "next.service"]), ..none() }, true),
        (Criteria { services: words(&["web.service"]), ..none() }, false),
        (Criteria { services: words(&["next.service"]), ..none() }, false),
        (Criteria { executables: words(&["caddy", "nginx"]), ..none() }, true),
        (Criteria { executables: words(&["nginx"]), ..none() }, false),
        (Criteria { uids: vec![0, 33], ..none() }, true),
        (Criteria { uids: vec![0], ..none() }, false),
        (Criteria { ports: vec![80..=80], uids: vec![0], ..none() }, false),
    ] {
        let expected = if fits { None } else { Some(Severity::Warning) };
        assert_eq!(judge(criteria.clone(), &handover), expected, "{criteria:?}");
    }
}

#[test]
fn a_third_is_not_hidden_by_an_expectation_of_two() {
    let two = Criteria { services: words(&["web.service", "next.service"]), ..Criteria::default() };
    assert_eq!(judge(two.clone(), &case(&[WEB, NEXT, WEB])), None);
    for third in [STRANGER, NOBODY, (33, &[("web.service", "nginx"), ("stranger", "nginx")])] {
        assert_eq!(judge(two.clone(), &case(&[WEB, NEXT, third])), Some(Severity::Warning), "{third:?}");
    }
    let users = Criteria { uids: vec![33], ..Criteria::default() };
    assert_eq!(judge(users.clone(), &case(&[WEB, NOBODY])), None);
    assert_eq!(judge(users, &case(&[WEB, STRANGER])), Some(Severity::Warning));
}

#[test]
fn who_had_a_socket_last_counts_where_nobody_has_it() {
    let mut handover = case(&[WEB, NEXT]);
    let mut closed = Socket::clone(&handover.parties[0].socket);
    closed.former = std::mem::take(&mut closed.owners);
    handover.parties[0].socket = Arc::new(closed);
    let two = Criteria { services: words(&["web.service", "next.service"]), ..Criteria::default() };
    assert_eq!(judge(two, &handover), None);
    let taker = Criteria { services: words(&["next.service"]), ..Criteria::default() };
    assert_eq!(judge(taker, &handover), Some(Severity::Warning));
}

#[test]
fn the_first_severity_that_fits_counts_and_expectations_come_first() {
    let on = |port| Criteria { ports: vec![port..=port], ..Criteria::default() };
    let mut policy = Policy {
        expected: vec![on(443)],
        severities: vec![(on(443), Severity::Info), (on(80), Severity::Critical), (on(80), Severity::Info)],
    };
    assert_eq!(policy.judge(&case(&[WEB]), &host), Some(Severity::Critical));
    policy.expected.push(on(80));
    assert_eq!(policy.judge(&case(&[WEB]), &host), None);
    assert_eq!(Policy::default().judge(&case(&[WEB]), &host), Some(Severity::Warning));
}

#[test]
fn what_fits_everything_is_known_in_any_words() {
    let none = Criteria::default;
    for everything in [
        none(),
        Criteria { signals: Kind::ALL.to_vec(), ..none() },
        Criteria { protocols: vec![Transport::Udp, Transport::Tcp], ports: vec![0..=u16::MAX], ..none() },
        Criteria { ports: vec![5000..=u16::MAX, 1..=5000], ..none() },
    ] {
        assert!(everything.fit_everything(), "{everything:?}");
    }
    for something in [
        Criteria { signals: vec![Kind::GenerationOverlap], ..none() },
        Criteria { protocols: vec![Transport::Udp], ..none() },
        Criteria { ports: vec![2..=u16::MAX], ..none() },
        Criteria { addresses: vec![[0, 0, 0, 0].into()], ..none() },
        Criteria { netns: words(&["host"]), ..none() },
        Criteria { services: words(&["web.service"]), ..none() },
        Criteria { executables: words(&["nginx"]), ..none() },
        Criteria { uids: vec![0], ..none() },
    ] {
        assert!(!something.fit_everything(), "{something:?}");
    }
}

const SERVICES: [&str; 3] = ["a.service", "b.service", "c.service"];
const EXECUTABLES: [&str; 3] = ["nginx", "caddy", "python3"];

prop_compose! {
    fn any_party()(uid in 0..4_u32, owners in prop::collection::vec((0..3_usize, 0..3_usize), 0..4))
        -> (u32, Vec<(&'static str, &'static str)>) {
        (uid, owners.into_iter().map(|(service, executable)| (SERVICES[service], EXECUTABLES[executable])).collect())
    }
}

proptest! {
    #[test]
    fn nobody_outside_an_expectation_is_ever_expected(
        parties in prop::collection::vec(any_party(), 1..5),
        services in prop::sample::subsequence(&SERVICES[..], 0..3),
        executables in prop::sample::subsequence(&EXECUTABLES[..], 0..3),
        uids in prop::sample::subsequence(vec![0, 1, 2, 3], 0..4),
    ) {
        let criteria =
            Criteria { services: words(&services), executables: words(&executables), uids: uids.clone(), ..Criteria::default() };
        let who: Vec<_> = parties.iter().map(|(uid, owners)| (*uid, &owners[..])).collect();
        let outside = parties.iter().any(|(uid, owners)| {
            !uids.is_empty() && !uids.contains(uid)
                || owners.is_empty() && !(services.is_empty() && executables.is_empty())
                || owners.iter().any(|(service, executable)| {
                    !services.is_empty() && !services.contains(service)
                        || !executables.is_empty() && !executables.contains(executable)
                })
        });
        prop_assert_eq!(judge(criteria, &case(&who)).is_some(), outside);
    }
}
