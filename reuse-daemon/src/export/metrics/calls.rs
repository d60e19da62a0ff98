//! Bind and listen calls: attempts, refusals, and conflicts over a port.

use std::{borrow::Cow, collections::BTreeMap};

use reuse_model::{
    endpoint::{Family as AddressFamily, Protocol},
    event::{Moment, Phase},
    refusal::{EADDRINUSE, EADDRNOTAVAIL, EAGAIN, RefusedPhase, Rule, result_name},
    tally::{Attempt, ConflictKey, OTHER, PortLabel, RefusalLabels, Tally},
};

use super::{family::Family, page::Page};
use crate::clock::Clock;

const BIND_ATTEMPTS: Family = Family::counter(
    "reuse_bind_attempts_total",
    "Calls of bind() that returned, by what they returned.",
    &["family", "protocol", "result"],
);
const LISTEN_ATTEMPTS: Family = Family::counter(
    "reuse_listen_attempts_total",
    "Calls of listen() that returned, by what they returned.",
    &["family", "protocol", "result"],
);
const REFUSALS: Family = Family::counter(
    "reuse_bind_refusals_total",
    "Refused binds and listens, by errno and by the rule that refused.",
    &["protocol", "phase", "errno", "rule"],
);
const AUTOBIND_FAILURES: Family = Family::counter(
    "reuse_autobind_failures_total",
    "Calls that found no port for a socket that had none.",
    &["protocol", "phase", "errno"],
);
const CONFLICT_LABELS: &[&str] = &["protocol", "address", "port", "rule", "contender", "holder"];
pub(super) const CONFLICTS: Family = Family::counter(
    "reuse_port_conflicts_total",
    "Refusals because another socket holds the port, by who asked and who holds it.",
    CONFLICT_LABELS,
);
const CONFLICT_LAST: Family = Family::gauge(
    "reuse_port_conflict_last_timestamp_seconds",
    "When the last refusal of this kind was, seconds since the epoch.",
    CONFLICT_LABELS,
);

/// Label sets of the conflicts that may be kept apart when so many series are allowed in all.
///
/// Each has two series; the rest is left to groups and to what has a fixed number.
#[must_use]
pub fn max_conflicts(max_series: usize) -> usize {
    max_series / 8
}

/// Writes every family of this area.
pub(super) fn write(page: &mut Page, tally: &Tally, clock: &Clock) {
    let attempts = attempts(tally);
    for (family, phase) in [(&BIND_ATTEMPTS, Phase::Bind), (&LISTEN_ATTEMPTS, Phase::Listen)] {
        let of_phase = attempts.iter().filter(|(labels, _)| labels.phase == phase);
        page.write(
            family,
            of_phase.map(|(labels, count)| {
                ([labels.family.as_str(), labels.protocol.as_str(), labels.result], *count)
            }),
        );
    }
    let refusals = refusals(tally);
    page.write(
        &REFUSALS,
        refusals.iter().map(|(labels, count)| {
            let RefusalLabels { protocol, phase, errno, rule } = labels;
            ([protocol.as_str(), phase.as_str(), errno, rule.as_str()], *count)
        }),
    );
    let mut autobinds = BTreeMap::new();
    let implicit = |phase| matches!(phase, RefusedPhase::Autobind | RefusedPhase::Connect);
    for (labels, count) in refusals.iter().filter(|(labels, _)| implicit(labels.phase)) {
        *autobinds.entry([labels.protocol.as_str(), labels.phase.as_str(), labels.errno]).or_insert(0) +=
            count;
    }
    page.write(&AUTOBIND_FAILURES, autobinds);
    conflicts(page, tally, clock);
}

fn conflicts(page: &mut Page, tally: &Tally, clock: &Clock) {
    let mut all: Vec<(Vec<Cow<'_, str>>, u64, Moment)> = tally
        .conflicts()
        .iter()
        .map(|(key, tally)| (conflict_labels(key), tally.count, tally.last))
        .collect();
    all.sort_unstable();
    page.write(&CONFLICTS, all.iter().map(|(labels, count, _)| (labels.iter().map(AsRef::as_ref), *count)));
    page.write_floats(
        &CONFLICT_LAST,
        all.iter().map(|(labels, _, last)| (labels.iter().map(AsRef::as_ref), clock.unix_seconds(*last))),
    );
}

fn conflict_labels(key: &ConflictKey) -> Vec<Cow<'_, str>> {
    let ConflictKey { protocol, address, port, rule, contender, holder } = key;
    let address = address.map_or(Cow::Borrowed(OTHER), |address| address.to_string().into());
    let port = match port {
        PortLabel::Number(port) => port.to_string().into(),
        PortLabel::Ephemeral => Cow::Borrowed("ephemeral"),
        PortLabel::Other => Cow::Borrowed(OTHER),
    };
    let (contender, holder) = (Cow::Borrowed(&**contender), Cow::Borrowed(&**holder));
    vec![protocol.as_str().into(), address, port, rule.as_str().into(), contender, holder]
}

/// The attempts, with those that a rate or an alert needs from the start at 0.
fn attempts(tally: &Tally) -> BTreeMap<Attempt, u64> {
    let mut all = BTreeMap::new();
    for (phase, protocol) in traced() {
        for family in [AddressFamily::Ipv4, AddressFamily::Ipv6] {
            for errno in [0, EADDRINUSE] {
                all.insert(Attempt { phase, family, protocol, result: result_name(errno) }, 0);
            }
        }
    }
    all.extend(tally.attempts().map(|(labels, count)| (*labels, count)));
    all
}

/// The refusals, with those of a port in use from the start at 0.
fn refusals(tally: &Tally) -> BTreeMap<RefusalLabels, u64> {
    let calls = traced().map(|(phase, protocol)| {
        let phase = if phase == Phase::Bind { RefusedPhase::Bind } else { RefusedPhase::Listen };
        RefusalLabels { protocol, phase, errno: result_name(EADDRINUSE), rule: Rule::HolderIsListening }
    });
    let implicit = [
        (RefusedPhase::Autobind, Protocol::Tcp, EADDRINUSE),
        (RefusedPhase::Autobind, Protocol::Mptcp, EADDRINUSE),
        (RefusedPhase::Autobind, Protocol::Udp, EAGAIN),
        (RefusedPhase::Connect, Protocol::Tcp, EADDRNOTAVAIL),
        (RefusedPhase::Connect, Protocol::Mptcp, EADDRNOTAVAIL),
        (RefusedPhase::Connect, Protocol::Udp, EAGAIN),
    ];
    let implicit = implicit.map(|(phase, protocol, errno)| RefusalLabels {
        protocol,
        phase,
        errno: result_name(errno),
        rule: Rule::EphemeralPortsExhausted,
    });
    let mut all: BTreeMap<_, _> = calls.chain(implicit).map(|labels| (labels, 0)).collect();
    all.extend(tally.refusals().map(|(labels, count)| (*labels, count)));
    all
}

/// The calls that a program can make with a port at stake. A datagram socket cannot listen.
fn traced() -> impl Iterator<Item = (Phase, Protocol)> {
    let binds = [Protocol::Tcp, Protocol::Udp, Protocol::Mptcp].map(|protocol| (Phase::Bind, protocol));
    let listens = [Protocol::Tcp, Protocol::Mptcp].map(|protocol| (Phase::Listen, protocol));
    binds.into_iter().chain(listens)
}
