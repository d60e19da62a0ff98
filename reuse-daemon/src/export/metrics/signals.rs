//! Signals: how many began, and which last.

use std::collections::{BTreeMap, BTreeSet};

use reuse_model::{
    endpoint::Protocol,
    report::Context,
    signal::{Case, Kind, Severity},
};

use super::{family::Family, page::Page};

const TOTAL: Family = Family::counter(
    "reuse_signals_total",
    "Signals that began; without those that were there before the daemon.",
    &["signal", "severity", "protocol"],
);
const ACTIVE: Family = Family::gauge(
    "reuse_signal_active",
    "1 while a signal lasts, by the protocol, address and port of the victim; absent when it has ended.",
    &["signal", "severity", "protocol", "address", "port", "netns"],
);

/// What a scrape reads of the signals.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignalsSeen<'a> {
    /// Those that last
    pub active: &'a [&'a Case],
    /// How many began
    pub raised: &'a [((Kind, Severity, Protocol), u64)],
}

/// Writes both families. Those that last are few, and none is folded; several with the same labels are one series.
pub(super) fn write(page: &mut Page, seen: SignalsSeen<'_>, context: &dyn Context) {
    let mut totals: BTreeMap<_, u64> = known().map(|labels| (labels, 0)).collect();
    totals.extend(seen.raised.iter().copied());
    let total = |((kind, severity, protocol), count): (&(Kind, Severity, Protocol), &u64)| {
        ([kind.as_str(), severity.as_str(), protocol.as_str()], *count)
    };
    page.write(&TOTAL, totals.iter().map(total));
    let active: BTreeSet<_> = seen.active.iter().map(|case| labels(case, context)).collect();
    page.write(&ACTIVE, active.iter().map(|labels| (labels.iter().map(String::as_str), 1)));
}

fn labels(case: &Case, context: &dyn Context) -> [String; 6] {
    [
        case.kind.as_str().to_owned(),
        case.severity.as_str().to_owned(),
        case.protocol.as_str().to_owned(),
        case.endpoint.address.to_string(),
        case.endpoint.port.to_string(),
        context.netns_name(case.port.netns).to_string(),
    ]
}

/// The label sets that are there from the start: each signal with the severities that it has without a policy.
fn known() -> impl Iterator<Item = (Kind, Severity, Protocol)> {
    Kind::ALL.iter().flat_map(|kind| {
        let (severities, protocols) = possible(*kind);
        severities
            .iter()
            .flat_map(move |severity| protocols.iter().map(move |protocol| (*kind, *severity, *protocol)))
    })
}

fn possible(kind: Kind) -> (&'static [Severity], &'static [Protocol]) {
    use Severity::{Critical, Info, Warning};
    const TCP: &[Protocol] = &[Protocol::Tcp];
    const BOTH: &[Protocol] = &[Protocol::Tcp, Protocol::Udp];
    match kind {
        Kind::TestGroupIntruder => (&[Critical], BOTH),
        Kind::ListenSquat => (&[Critical], TCP),
        Kind::RepairBind => (&[Critical, Warning], TCP),
        Kind::FamilyShadow | Kind::DeviceShadow | Kind::MoreSpecificShadow => {
            (&[Critical, Warning, Info], BOTH)
        }
        Kind::ForeignUidShare => (&[Critical], BOTH),
        Kind::OwnerChange | Kind::ForeignProgramJoin | Kind::JoinRefused | Kind::TakeoverAfterClose => {
            (&[Warning], BOTH)
        }
        Kind::GenerationOverlap => (&[Info], BOTH),
        Kind::GroupSteering | Kind::InheritedListener => (&[Warning, Info], BOTH),
        Kind::StalledMember => (&[Warning], TCP),
    }
}
