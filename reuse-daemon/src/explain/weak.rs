//! The decision where the holders' options could not be read: certain only if it is the same whatever they are.

use reuse_model::{
    endpoint::Family,
    port::{Bucket, FastAddress, Occupant, Port, Reuse, Table, UdpScan},
    refusal::Rule,
    report::Outcome,
    rulebook::Contender,
    socket::State,
};

use super::verdict::{Case, Verdict};

/// What is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certain {
    /// How it ends; unknown where that depends on what could not be read
    pub outcome: Outcome,
    /// As if every holder forbade all it can: its blockers are all that may be in the way
    pub verdict: Verdict,
    /// The rule of each of the verdict's blockers; `None` where it depends on what could not be read
    pub rules: Vec<Option<Rule>>,
}

impl Certain {
    /// Decides `case`, whose occupants have none of the options they may have.
    #[must_use]
    pub fn of(case: &Case<'_>) -> Self {
        let strict = strictest(case.port);
        let verdict = Case { port: &strict, ..*case }.verdict();
        let mild = mildest(case.port, case.contender);
        let outcome = match (verdict.refused(), Case { port: &mild, ..*case }.verdict().refused()) {
            (false, _) => Outcome::Success,
            (true, true) => Outcome::Refused,
            (true, false) => Outcome::Unknown,
        };
        let rules = verdict
            .decision
            .blockers
            .iter()
            .map(|blocker| case.port.occupants.get(blocker.occupant).and_then(|holder| rule_of(case, holder)))
            .collect();
        Self { outcome, verdict, rules }
    }

    /// The rule of the whole, where it is certain.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        match self.outcome {
            Outcome::Refused if self.verdict.objection.is_some() => self.verdict.rule(),
            Outcome::Refused if self.rules.iter().all(Option::is_some) => {
                self.rules.iter().flatten().min().copied()
            }
            _ => None,
        }
    }
}

/// Whether IPV6_V6ONLY of an occupant is known: the kernel tells it of sockets that listen or are not connected.
#[must_use]
pub fn knows_v6only(occupant: &Occupant) -> bool {
    occupant.family == Family::Ipv4 || matches!(occupant.state, State::Listen | State::Bound)
}

/// The port as it is if no holder has an option and the kernel remembers nothing that would let a socket pass.
fn strictest(port: &Port) -> Port {
    with(port, |holder| Occupant { reuse: Reuse::No, reuseport: false, ..holder.clone() })
}

/// The port as it is if each holder has every option, and the kernel remembers the best for this contender.
fn mildest(port: &Port, contender: &Contender) -> Port {
    let mut mild = with(port, |holder| Occupant {
        reuse: Reuse::Yes,
        reuseport: true,
        v6only: holder.v6only || !knows_v6only(holder),
        ..holder.clone()
    });
    // UDP: the first decides, and the order is not known.
    mild.occupants.sort_by_key(|holder| holder.uid != Some(contender.uid));
    if let Table::Tcp(_) = mild.table {
        let fast_address =
            FastAddress { family: contender.family, address: contender.family.unspecified(), v6only: false };
        let fastreuse = if a_listener_closes_bucket(port, contender) { 0 } else { 1 };
        let open = Bucket {
            fastreuse,
            fastreuseport: 1,
            fastuid: contender.uid,
            fast_address,
            // Which a mapped address does not see where that makes a difference.
            wildcard_family: Some(Family::Ipv6),
        };
        mild.table = Table::Tcp(Some(open));
    }
    mild
}

/// Whether a listener is in the contender's bucket, which SO_REUSEADDR alone then cannot pass: listen() clears
/// `fastreuse` for as long as the bucket is there (net/ipv4/inet_connection_sock.c, `inet_csk_update_fastreuse`). Devices
/// of a VRF have buckets of their own.
fn a_listener_closes_bucket(port: &Port, contender: &Contender) -> bool {
    port.occupants.iter().any(|holder| holder.state == State::Listen && holder.device == contender.device)
}

fn with(port: &Port, change: impl Fn(&Occupant) -> Occupant) -> Port {
    let table = match port.table {
        Table::Tcp(_) => Table::Tcp(None),
        Table::Udp { slot, .. } => Table::Udp { scan: UdpScan::Port, slot },
    };
    Port { table, occupants: port.occupants.iter().map(change).collect(), ..port.clone() }
}

/// The rule by which `holder` alone is in the way, if it is the same whatever its options.
fn rule_of(case: &Case<'_>, holder: &Occupant) -> Option<Rule> {
    let options = [(false, false), (false, true), (true, false), (true, true)];
    let mut rules = options.into_iter().map(|(reuseaddr, reuseport)| {
        let reuse = if reuseaddr { Reuse::Yes } else { Reuse::No };
        let alone =
            Port { occupants: vec![Occupant { reuse, reuseport, ..holder.clone() }], ..case.port.clone() };
        Case { port: &strict_table(&alone), ..*case }.verdict().rule()
    });
    let first = rules.next().flatten()?;
    rules.all(|rule| rule == Some(first)).then_some(first)
}

fn strict_table(port: &Port) -> Port {
    with(port, Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::verdict::tests::{HOME, contender, kernel, occupant, port};

    fn certain(contender: &Contender, occupants: Vec<Occupant>) -> (Outcome, Option<Rule>) {
        let (kernel, port) = (kernel(), port(occupants));
        let case =
            Case { kernel: &kernel, contender, number: 8080, port: &port, around: &HOME, listen: false };
        let certain = Certain::of(&case);
        (certain.outcome, certain.rule())
    }

    #[test]
    fn a_contender_without_options_is_refused_by_whoever_overlaps() {
        let plain = contender("127.0.0.1");
        assert_eq!(certain(&plain, vec![occupant("127.0.0.1", State::Bound)]), (Outcome::Refused, None));
        assert_eq!(certain(&plain, vec![occupant("127.0.0.2", State::Bound)]), (Outcome::Success, None));
        assert_eq!(certain(&plain, Vec::new()), (Outcome::Success, None));
        let foreign = Occupant { uid: Some(33), ..occupant("127.0.0.1", State::Listen) };
        let listening = (Outcome::Refused, Some(Rule::HolderIsListening));
        assert_eq!(
            certain(&plain, vec![foreign]),
            listening,
            "no option of a stranger's listener would help"
        );
        let waiting = Occupant { uid: None, ..occupant("127.0.0.1", State::TimeWait) };
        assert_eq!(certain(&plain, vec![waiting]), (Outcome::Refused, Some(Rule::TimeWait)));
    }

    #[test]
    fn a_contender_with_an_option_depends_on_the_holders() {
        let reusing = Contender { reuse: Reuse::Yes, ..contender("127.0.0.1") };
        assert_eq!(certain(&reusing, vec![occupant("127.0.0.1", State::Bound)]).0, Outcome::Unknown);
        let foreign = Occupant { uid: Some(33), ..occupant("127.0.0.1", State::Listen) };
        assert_eq!(
            certain(&reusing, vec![foreign]),
            (Outcome::Refused, Some(Rule::HolderIsListening)),
            "a listener shares by SO_REUSEADDR with nobody"
        );
        let on_device = Occupant { device: 7, ..occupant("127.0.0.1", State::Listen) };
        assert_eq!(certain(&reusing, vec![on_device]).0, Outcome::Unknown, "its bucket may be another");
        let grouped = Contender { reuseport: true, ..contender("127.0.0.1") };
        assert_eq!(certain(&grouped, vec![occupant("127.0.0.1", State::Listen)]).0, Outcome::Unknown);
    }

    #[test]
    fn a_connection_of_ipv6_may_or_may_not_take_ipv4() {
        let wildcard = contender("0.0.0.0");
        let connected = occupant("::1", State::Connected);
        assert_eq!(certain(&wildcard, vec![connected]).0, Outcome::Unknown);
        let listener = Occupant { v6only: true, ..occupant("::", State::Listen) };
        assert_eq!(certain(&wildcard, vec![listener]).0, Outcome::Success);
    }
}
