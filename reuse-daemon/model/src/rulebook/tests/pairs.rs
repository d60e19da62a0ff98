//! Every pair of a contender and one socket on its address, with and without what its remedies say.

use super::{
    super::remedy::{Departure, ReuseOption, Step, alternatives, sentences},
    *,
};

/// Every state a socket can be in, with who can act on it then.
const LIVES: [(State, Tenure); 8] = [
    (State::Bound, Tenure::Held),
    (State::Listen, Tenure::Held),
    (State::Connected, Tenure::Held),
    (State::Connected, Tenure::Unaccepted),
    (State::Closing, Tenure::Held),
    (State::Closing, Tenure::Unaccepted),
    (State::Closing, Tenure::Orphan),
    (State::TimeWait, Tenure::Orphan),
];

const UIDS: [u32; 3] = [0, 1000, 1001];

/// Every contender for 127.0.0.1, as far as sharing goes.
fn contenders(transport: Transport) -> impl Iterator<Item = Contender> {
    let reuses = [Reuse::No, Reuse::Yes];
    let flags = [false, true];
    UIDS.into_iter().flat_map(move |uid| {
        reuses.into_iter().flat_map(move |reuse| {
            flags.into_iter().flat_map(move |reuseport| {
                [(false, false), (true, false), (true, true)].into_iter().map(
                    move |(in_group, group_has_closed)| Contender {
                        transport,
                        uid,
                        reuse,
                        reuseport,
                        in_group,
                        group_has_closed,
                        ..contender("127.0.0.1")
                    },
                )
            })
        })
    })
}

/// Every socket on 127.0.0.1, as far as sharing goes.
pub(super) fn occupants(transport: Transport) -> Vec<Occupant> {
    let mut all = Vec::new();
    for (state, tenure) in LIVES {
        if transport == Transport::Udp
            && (tenure != Tenure::Held || !matches!(state, State::Bound | State::Connected))
        {
            continue;
        }
        for uid in UIDS {
            for reuse in [Reuse::No, Reuse::Yes, Reuse::Forced] {
                for (reuseport, kernel) in [(false, false), (false, true), (true, false), (true, true)] {
                    all.push(Occupant {
                        state,
                        tenure,
                        reuse,
                        reuseport,
                        kernel: kernel && tenure == Tenure::Held,
                        uid: (state != State::TimeWait).then_some(uid),
                        ..occupant("127.0.0.1")
                    });
                }
            }
        }
    }
    all
}

pub(super) fn port_of(transport: Transport, occupants: impl Into<Vec<Occupant>>) -> Port {
    match transport {
        Transport::Tcp => tcp_port(occupants),
        Transport::Udp => udp_port(UdpScan::Port, occupants),
    }
}

/// `inet_bind_conflict` with `relax` and `reuseport_ok`, and what `udp_lib_lport_inuse` makes of its first candidate,
/// line by line.
fn kernel_refuses(asking: &Contender, holder: &Occupant) -> bool {
    let uid_eq = holder.uid == Some(asking.uid);
    let reuse = asking.reuse != Reuse::No && holder.reuse != Reuse::No;
    match asking.transport {
        Transport::Tcp => {
            let cb_ok = !asking.in_group || asking.group_has_closed;
            if reuse && holder.state != State::Listen {
                return false;
            }
            let identity = holder.state == State::TimeWait || uid_eq;
            !asking.reuseport || !holder.reuseport || !cb_ok || !identity
        }
        Transport::Udp => {
            let allowed = holder.reuseport && asking.reuseport && !asking.in_group && uid_eq;
            !(reuse || allowed)
        }
    }
}

/// Does what `steps` say, holder by holder; what leaves or is avoided is off the port at the end.
pub(super) fn apply(asking: &mut Contender, port: &mut Port, steps: &[(usize, Vec<Step>)]) {
    let mut gone = Vec::new();
    for (place, way) in steps {
        let holder = &mut port.occupants[*place];
        for step in way {
            match step {
                Step::Accept => {
                    assert_eq!(holder.tenure, Tenure::Unaccepted);
                    holder.tenure = Tenure::Held;
                }
                Step::HolderSets(option) => {
                    assert!(holder.tenure == Tenure::Held && !holder.kernel, "nobody can: {holder:?}");
                    match option {
                        ReuseOption::Address => holder.reuse = Reuse::Yes,
                        ReuseOption::Port => holder.reuseport = true,
                    }
                }
                Step::ContenderSets(ReuseOption::Address) => asking.reuse = Reuse::Yes,
                Step::ContenderSets(ReuseOption::Port) => asking.reuseport = true,
                Step::ContenderUid(uid) => asking.uid = *uid,
                Step::ProgramLater => asking.in_group = false,
                Step::Leave(Departure::Expire) => {
                    assert_eq!(holder.tenure, Tenure::Orphan);
                    gone.push(*place);
                }
                Step::Elsewhere | Step::Leave(_) => gone.push(*place),
            }
        }
    }
    let mut place = 0;
    port.occupants.retain(|_| {
        place += 1;
        !gone.contains(&(place - 1))
    });
}

#[test]
fn a_pair_has_a_rule_exactly_where_the_kernel_refuses_it() {
    for transport in [Transport::Tcp, Transport::Udp] {
        for asking in contenders(transport) {
            for holder in occupants(transport) {
                let port = port_of(transport, [holder.clone()]);
                let decision = decide(&kernel(), Request::Bind, &asking, &port);
                let refused = kernel_refuses(&asking, &holder);
                let name = format!("{asking:?} on {holder:?}");
                assert_eq!(decision.refused, refused, "{name}");
                assert_eq!(decision.blockers.len(), usize::from(refused), "{name}");
                assert!(
                    decision.blockers.iter().all(|blocker| blocker.rule <= Rule::TimeWait),
                    "{decision:?}, {name}"
                );
                assert_eq!(decision.exemption, None, "{name}");
            }
        }
    }
}

#[test]
fn each_remedy_alone_is_enough_for_its_pair() {
    let mut tried = 0;
    for transport in [Transport::Tcp, Transport::Udp] {
        for asking in contenders(transport) {
            for holder in occupants(transport) {
                let port = port_of(transport, [holder.clone()]);
                let ways = alternatives(&kernel(), &asking, &holder);
                assert_eq!(ways.is_empty(), !kernel_refuses(&asking, &holder), "{asking:?} on {holder:?}");
                for way in ways {
                    let (mut asking, mut port) = (asking.clone(), port.clone());
                    let name = format!("{way:?} for {asking:?} on {holder:?}");
                    apply(&mut asking, &mut port, &[(0, way)]);
                    assert!(!decide(&kernel(), Request::Bind, &asking, &port).refused, "{name}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 3_000, "{tried}");
}

#[test]
fn the_rule_is_the_first_row_of_the_interface_that_applies() {
    for asking in contenders(Transport::Tcp) {
        for holder in occupants(Transport::Tcp) {
            let decision = decide(&kernel(), Request::Bind, &asking, &tcp_port([holder.clone()]));
            let Some(blocker) = decision.blockers.first() else { continue };
            let same_uid = holder.state == State::TimeWait || holder.uid == Some(asking.uid);
            let free = !asking.in_group || asking.group_has_closed;
            let one_away = asking.reuseport != holder.reuseport && same_uid && free;
            let both = asking.reuseport && holder.reuseport;
            let live = holder.state != State::TimeWait && holder.tenure != Tenure::Orphan;
            let (ours, theirs) = (asking.reuse.is_set(), holder.reuse.is_set());
            let rows = [
                (both && !same_uid, Rule::ReuseportUidMismatch),
                (both && !free, Rule::ReuseportProgramAttached),
                (holder.state == State::Listen && !one_away, Rule::HolderIsListening),
                (live && !ours && !theirs && !one_away, Rule::Exclusive),
                (live && !holder.reuseport && asking.reuseport && one_away, Rule::HolderLacksReuseport),
                (live && holder.reuseport && !asking.reuseport && one_away, Rule::ContenderLacksReuseport),
                (live && !theirs && ours, Rule::HolderLacksReuseaddr),
                (live && theirs && !ours, Rule::ContenderLacksReuseaddr),
                (!live && holder.state != State::TimeWait, Rule::HolderIsClosing),
                (holder.state == State::TimeWait, Rule::TimeWait),
            ];
            let first = rows.iter().find(|(applies, _)| *applies).map(|(_, rule)| *rule);
            assert_eq!(Some(blocker.rule), first, "{asking:?} on {holder:?}");
        }
    }
}

#[test]
fn every_refused_pair_has_one_whole_sentence() {
    for transport in [Transport::Tcp, Transport::Udp] {
        for asking in contenders(transport) {
            for holder in occupants(transport) {
                let port = port_of(transport, [holder]);
                let decision = decide(&kernel(), Request::Bind, &asking, &port);
                let said = sentences(&kernel(), &asking, 8080, &port, &decision.blockers);
                assert_eq!(said.len(), decision.blockers.len());
                for sentence in said {
                    let name = format!("{sentence:?} for {asking:?} on {port:?}");
                    assert!(sentence.ends_with('.') && !sentence.contains("  "), "{name}");
                    assert!(sentence.contains("127.0.0.1:8080"), "{name}");
                    let opens = transport == Transport::Udp && sentence.contains("et SO_REUSEADDR");
                    assert_eq!(sentence.contains("any user can then take"), opens, "{name}");
                }
            }
        }
    }
}
