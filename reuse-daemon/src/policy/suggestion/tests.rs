use std::sync::Arc;

use proptest::prelude::*;
use reuse_model::{
    endpoint::{Endpoint, Family, Protocol},
    event::{Comm, Moment},
    inventory::{Owner, PortKey, Socket},
    process::Process,
    report::{Context, View},
    signal::{Case, Kind, Party, Policy, Role},
    socket::{Cookie, Flags, Inode, NetNs, SocketFacts, State},
};

use super::*;
use crate::policy::parse;

const SERVICES: [&str; 4] = ["web.service", "a\"b\\c", "größe\u{7}\n", "pod/x"];

struct Names;

impl Context for Names {
    fn netns_name(&self, netns: NetNs) -> Arc<str> {
        netns_name(netns)
    }
    fn user_name(&self, _: u32) -> Option<Arc<str>> {
        None
    }
    fn command_line(&self, _: &Process) -> Option<Vec<Vec<u8>>> {
        None
    }
    fn time(&self, at: Moment) -> String {
        format!("t{}", at.0)
    }
}

fn netns_name(netns: NetNs) -> Arc<str> {
    Arc::from(if netns.0 == 1 { "host" } else { "blue \"\n" })
}

/// A socket with its uid and the services of its owners.
fn party((uid, services): (u32, Vec<&str>)) -> Party {
    let owner = |service: &str| {
        let process = Process { service: Arc::from(service), ..Process::from_comm(7, Comm::default(), uid) };
        Owner { process: Arc::new(process), comm: Comm::default(), fds: Vec::new(), seen: Moment(1) }
    };
    let facts = SocketFacts {
        inode: Inode(5),
        cookie: Cookie(0),
        netns: NetNs(1),
        netns_cookie: 0,
        family: Family::Ipv4,
        protocol: Protocol::Tcp,
        local: Endpoint { address: [127, 0, 0, 1].into(), port: 80 },
        state: State::Listen,
        flags: Flags::default(),
        device: None,
        uid,
        creator: None,
        forced: false,
        multicast: Vec::new(),
        queue: 0,
        queue_limit: 0,
        drops: 0,
        group: None,
    };
    let owners = services.into_iter().map(owner).collect();
    let socket = Socket { owners, ..Socket::found(facts, Moment(1)) };
    Party { role: Role::Member, socket: Arc::new(socket), overlap: None, selections: None }
}

fn case(kind: Kind, severity: Severity, port: u16, netns: u32, parties: Vec<(u32, Vec<&str>)>) -> Case {
    Case {
        kind,
        severity,
        port: PortKey { netns: NetNs(netns), transport: Transport::Tcp, port },
        protocol: if port == 1 { Protocol::Mptcp } else { Protocol::Tcp },
        endpoint: Endpoint { address: [127, 0, 0, 1].into(), port },
        parties: parties.into_iter().map(party).collect(),
        since: Moment(1),
        until: None,
        found: false,
        seen: "Seen.\n[[policy.expect]]\nport = 1".to_owned(),
    }
}

fn suggested(cases: &[Case]) -> String {
    let events: Vec<_> = cases.iter().map(|case| SignalEvent::new(case, &Names, View::Local)).collect();
    policy(&events)
}

fn loaded(text: &str) -> Policy {
    parse(text, &|_| None).unwrap_or_else(|wrong| panic!("{wrong:?} in {text}"))
}

#[test]
fn a_signal_becomes_a_table_with_what_was_seen() {
    let handover = case(
        Kind::TakeoverAfterClose,
        Severity::Warning,
        80,
        1,
        vec![(33, vec!["old.service"]), (1000, vec!["new.service"])],
    );
    assert_eq!(
        suggested(&[handover]),
        PREFACE.to_owned()
            + "\n# warning since t1: Seen. [[policy.expect]] port = 1\n[[policy.expect]]\n\
               signal = \"takeover_after_close\"\nprotocol = \"tcp\"\naddress = \"127.0.0.1\"\nport = 80\n\
               netns = \"host\"\nservices = [\"new.service\", \"old.service\"]\nexecutables = [\"unknown\"]\n\
               uids = [33, 1000]\n"
    );
}

#[test]
fn nothing_active_asks_for_nothing() {
    assert_eq!(suggested(&[]), "");
}

#[test]
fn whoever_joins_afterwards_is_told() {
    let parties = || vec![(33, vec!["a"]), (33, vec!["b"])];
    let seen = case(Kind::ForeignProgramJoin, Severity::Warning, 80, 1, parties());
    let policy = loaded(&suggested(std::slice::from_ref(&seen)));
    assert_eq!(policy.judge(&seen, &netns_name), None);
    for third in [(33, vec!["c"]), (34, vec!["a"]), (33, vec![])] {
        let mut more = parties();
        more.push(third.clone());
        let joined = case(Kind::ForeignProgramJoin, Severity::Warning, 80, 1, more);
        assert_eq!(policy.judge(&joined, &netns_name), Some(Severity::Warning), "{third:?}");
    }
    let elsewhere = case(Kind::ForeignProgramJoin, Severity::Warning, 81, 1, parties());
    assert_eq!(policy.judge(&elsewhere, &netns_name), Some(Severity::Warning));
    let other = case(Kind::GenerationOverlap, Severity::Warning, 80, 1, parties());
    assert_eq!(policy.judge(&other, &netns_name), Some(Severity::Warning));
}

#[test]
fn what_is_commented_out_loads_too() {
    let info = case(Kind::GenerationOverlap, Severity::Info, 80, 1, vec![(33, vec!["a"])]);
    let text = suggested(std::slice::from_ref(&info));
    assert_eq!(loaded(&text), Policy::default());
    let tables: Vec<_> = text.lines().skip_while(|line| *line != "# [[policy.expect]]").collect();
    let text: String =
        tables.iter().filter_map(|line| line.strip_prefix("# ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(loaded(&text).judge(&info, &netns_name), None, "{text}");
}

prop_compose! {
    fn any_case()(
        kind in prop::sample::select(Kind::ALL),
        severity in prop::sample::select(&Severity::ALL[..]),
        port in 1..4_u16,
        netns in 1..3_u32,
        parties in prop::collection::vec((0..3_u32, prop::collection::vec(prop::sample::select(&SERVICES[..]), 0..3)), 1..4),
    ) -> Case {
        case(kind, severity, port, netns, parties)
    }
}

proptest! {
    #[test]
    fn what_is_suggested_expects_what_was_active_and_no_other(
        active in prop::collection::vec(any_case(), 0..8),
        others in prop::collection::vec(any_case(), 0..8),
    ) {
        let policy = loaded(&suggested(&active));
        let above_info = active.iter().filter(|case| case.severity > Severity::Info);
        for case in above_info {
            prop_assert_eq!(policy.judge(case, &netns_name), None);
        }
        for case in &others {
            let seen = |one: &Case| {
                let uids = |case: &Case| case.parties.iter().map(|party| party.socket.facts.uid).collect::<Vec<_>>();
                let known = uids(one);
                one.severity > Severity::Info
                    && (one.kind, one.port) == (case.kind, case.port)
                    && uids(case).iter().all(|uid| known.contains(uid))
            };
            if policy.judge(case, &netns_name).is_none() {
                prop_assert!(active.iter().any(seen), "{:?} was expected by {:?}", case, policy);
            }
        }
    }
}
