//! EADDRINUSE: from what was read at the refusal, else from what is remembered.

use super::*;
use crate::{
    endpoint::{Family, Protocol},
    port::{Bucket, FastAddress, Occupant, Table, Tenure, UdpScan},
    socket::{Cookie, Inode},
};

/// A socket of uid 0 without options on `127.0.0.1`.
fn occupant(inode: u64, state: State) -> Occupant {
    Occupant {
        family: Family::Ipv4,
        address: IpAddr::from([127, 0, 0, 1]),
        protocol: Protocol::Tcp,
        state,
        reuse: Reuse::No,
        reuseport: false,
        v6only: false,
        device: 0,
        uid: Some(0),
        inode: Inode(inode),
        cookie: Cookie(0),
        tenure: Tenure::Held,
        kernel: false,
        expires_in: None,
    }
}

fn tcp(occupants: Vec<Occupant>) -> Port {
    let address = IpAddr::from([0, 0, 0, 0]);
    let fast_address = FastAddress { family: Family::Ipv4, address, v6only: false };
    let bucket = Bucket { fastreuse: 0, fastreuseport: 0, fastuid: 0, fast_address, wildcard_family: None };
    let bucket = (!occupants.is_empty()).then_some(bucket);
    Port { table: Table::Tcp(bucket), occupants, truncated: false, disturbed: false }
}

fn in_use(port: Port) -> Call {
    Call { evidence: evidence(PLAIN, Some(port)), ..refused_bind(98, 8080) }
}

fn nothing() -> Remembered {
    panic!("asked for what is remembered")
}

fn inodes(refusal: &Refusal) -> Vec<u64> {
    refusal.holders.iter().map(|holder| holder.occupant.inode.0).collect()
}

#[test]
fn every_holder_is_named_and_the_highest_rule_is_the_events() {
    let port = tcp(vec![occupant(2, State::Bound), occupant(3, State::Listen)]);
    let refusal = Refusal::of(&in_use(port), &kernel(), nothing).expect("refused");
    assert_eq!((refusal.rule, refusal.confidence), (Rule::HolderIsListening, Confidence::Exact));
    assert_eq!((inodes(&refusal), refusal.decided_by), (vec![2, 3], None));
    assert_eq!(refusal.holders[0].rule, Rule::Exclusive);
    assert_eq!((refusal.remedies.len(), refusal.explained()), (2, "exact"));
    assert!(refusal.remedy().starts_with("Stop the listener on 127.0.0.1:8080"), "{}", refusal.remedy());
}

#[test]
fn of_udp_the_holder_that_decided_comes_first_and_gives_the_rule() {
    let udp = |inode, reuseport| Occupant {
        protocol: Protocol::Udp,
        reuseport,
        uid: Some(1000),
        ..occupant(inode, State::Bound)
    };
    let port =
        Port { table: Table::Udp { scan: UdpScan::Port, slot: 2 }, ..tcp(vec![udp(2, false), udp(3, true)]) };
    let mut refused = in_use(port);
    if let Some(socket) = &mut refused.socket {
        socket.protocol = Protocol::Udp;
        socket.flags.reuseport = true;
    }
    let refusal = Refusal::of(&refused, &kernel(), nothing).expect("refused");
    assert_eq!((refusal.rule, refusal.decided_by), (Rule::Exclusive, Some(0)));
    assert_eq!(inodes(&refusal), [2, 3]);
    assert_eq!(refusal.holders[1].rule, Rule::ReuseportUidMismatch, "a higher row that did not decide");
}

#[test]
fn what_was_not_read_whole_is_best_evidence() {
    for (truncated, disturbed) in [(true, false), (false, true)] {
        let port = Port { truncated, disturbed, ..tcp(vec![occupant(2, State::Bound)]) };
        let refusal = Refusal::of(&in_use(port), &kernel(), nothing).expect("refused");
        assert_eq!((refusal.rule, refusal.confidence), (Rule::Exclusive, Confidence::BestEvidence));
        assert_eq!(refusal.truncated, truncated);
    }
}

#[test]
fn a_holder_that_went_meanwhile_is_remembered() {
    let read = Occupant { reuse: Reuse::Yes, ..occupant(2, State::Bound) };
    let mut refused = in_use(tcp(vec![read]));
    if let Some(evidence) = &mut refused.evidence {
        Arc::get_mut(evidence).expect("one owner").reuse = Reuse::Yes;
    }
    let known = |live: &[u64], closed: &[u64]| Remembered {
        live: live.iter().map(|inode| occupant(*inode, State::Listen)).collect(),
        closed: closed.iter().map(|inode| occupant(*inode, State::Listen)).collect(),
    };
    let blockers = |live: &[u64], closed: &[u64]| {
        let refusal = Refusal::of(&refused, &kernel(), || known(live, closed)).expect("refused");
        assert_eq!((refusal.rule, refusal.confidence), (Rule::HolderIsListening, Confidence::BestEvidence));
        inodes(&refusal)
    };
    assert_eq!(
        blockers(&[2, 3], &[4]),
        [3],
        "what was read counts as it was read, what is there before what is gone"
    );
    assert_eq!(blockers(&[2], &[4, 5, 6]), [4], "those that are gone exclude each other: the likeliest");
}

#[test]
fn a_bucket_that_lets_pass_only_now_is_no_excuse() {
    let mut port = tcp(vec![occupant(2, State::Bound)]);
    if let Table::Tcp(Some(bucket)) = &mut port.table {
        bucket.fastreuseport = 1;
    }
    let mut refused = in_use(port);
    if let Some(socket) = &mut refused.socket {
        socket.flags.reuseport = true;
    }
    let refusal = Refusal::of(&refused, &kernel(), Remembered::default).expect("refused");
    assert_eq!((refusal.rule, refusal.confidence), (Rule::HolderLacksReuseport, Confidence::BestEvidence));
}

#[test]
fn nobody_on_the_port_leaves_a_filter_or_the_kernel_itself() {
    let empty = refusal(&in_use(tcp(Vec::new())));
    assert_eq!((empty.rule, empty.confidence), (Rule::KernelResource, Confidence::BestEvidence));
    assert!(empty.remedy().contains("127.0.0.1:8080: ask again"), "{}", empty.remedy());
    let filter = Circumstances { seccomp_filter: true, ..PLAIN };
    let filtered = Call { evidence: evidence(filter, Some(tcp(Vec::new()))), ..refused_bind(98, 8080) };
    assert_eq!(rule_of(&filtered), Some((Rule::Seccomp, Confidence::BestEvidence)));
}

#[test]
fn an_mptcp_socket_asks_with_the_uid_of_its_subflow() {
    let mut refused = call(Phase::Listen, 98, 10, 1, facts(1, 8080));
    let holder = Occupant { reuseport: true, uid: Some(7), ..occupant(2, State::Listen) };
    refused.evidence = evidence(PLAIN, Some(tcp(vec![holder])));
    if let Some(socket) = &mut refused.socket {
        (socket.protocol, socket.flags.reuseport, socket.uid) = (Protocol::Mptcp, true, 7);
    }
    assert_eq!(rule_of(&refused).map(|(rule, _)| rule), Some(Rule::KernelResource), "the same uid shares");
    let read = refused.evidence.as_deref().expect("evidence").clone();
    refused.evidence = Some(Arc::new(Evidence { subflow_uid: Some(8), ..read }));
    assert_eq!(rule_of(&refused), Some((Rule::ReuseportUidMismatch, Confidence::Exact)));
}

#[test]
fn without_evidence_only_what_is_remembered_tells() {
    let live = |inode, state| move || Remembered { live: vec![occupant(inode, state)], closed: Vec::new() };
    let refusal = Refusal::of(&refused_bind(98, 8080), &kernel(), live(2, State::Listen)).expect("refused");
    assert_eq!((refusal.rule, refusal.confidence), (Rule::HolderIsListening, Confidence::BestEvidence));
    let listen = call(Phase::Listen, 98, 10, 1, facts(1, 8080));
    assert_eq!(Refusal::of(&listen, &kernel(), live(1, State::Bound)).expect("refused").rule, Rule::Unknown);
    let ephemeral = Refusal::of(&refused_bind(98, 0), &kernel(), nothing).expect("refused");
    assert_eq!(ephemeral.rule, Rule::EphemeralPortsExhausted);
}

#[test]
fn a_socket_that_is_being_closed_is_no_closing_connection() {
    let closing = Occupant { tenure: Tenure::Orphan, inode: Inode(0), ..occupant(0, State::Listen) };
    let refused = in_use(tcp(vec![closing]));
    assert_eq!(rule_of(&refused), Some((Rule::HolderIsListening, Confidence::BestEvidence)));
}
