//! Signals on their way out: to those who follow, to the events, and to those who ask.

use std::time::Duration;

use reuse_model::{
    event::Moment,
    report::{Record, RecordBody, SCHEMA, SignalList, View},
    signal::{Case, Severity, Signals, Told},
};

use super::{
    Outlet,
    followers::{Followers, before},
};
use crate::{
    owner::{names::Names, shown::Shown},
    query::follow::Follower,
};

/// Who is told of signals.
#[derive(Default)]
pub(super) struct ToldSignals {
    followers: Followers,
}

impl ToldSignals {
    /// Tells that a signal began or ended.
    pub(super) fn tell(&mut self, told: &Told, now: Moment, outlet: &Outlet, names: &Names) {
        outlet.tell(told.at, names, |names| RecordBody::signal(&told.case, names));
        self.followers.give(now, names, |shown| record(told.at, &told.case, shown));
    }

    /// Takes a follower in: what it wants of the past first, then each signal as it begins and ends.
    pub(super) fn follow(&mut self, follower: Follower, signals: &Signals, now: Moment, names: &Names) {
        self.followers.join(follower, now, names, |within, shown| {
            records(signals.active(), signals.ended_since(before(now, within)), shown)
        });
    }

    /// Forgets who is gone, and tells losses that nothing came after.
    pub(super) fn tick(&mut self, now: Moment, names: &Names) {
        self.followers.tick(now, names);
    }
}

/// The active signals and those that ended in the time `within` before `now`, or all that are kept.
pub(super) fn list(
    signals: &Signals,
    within: Option<Duration>,
    now: Moment,
    names: &Names,
    view: View,
) -> SignalList<Record> {
    let from = within.map_or(Moment(0), |within| before(now, within));
    let shown = Shown { names, view };
    let records = records(signals.active(), signals.ended_since(from), &shown);
    SignalList { schema: SCHEMA, signals: records, dropped: signals.dropped() }
}

/// How many signals of each severity are active, the gravest first.
pub(super) fn active(signals: &Signals) -> [(Severity, usize); 3] {
    let [info, warning, critical] =
        Severity::ALL.map(|one| (one, signals.active().filter(|case| case.severity == one).count()));
    [critical, warning, info]
}

/// A record for each, in the order in which they began.
fn records<'a>(
    active: impl Iterator<Item = &'a Case>,
    ended: impl Iterator<Item = &'a Case>,
    shown: &Shown<'_>,
) -> Vec<Record> {
    let mut cases: Vec<_> = ended.chain(active).collect();
    cases.sort_by_key(|case| case.since);
    cases.into_iter().map(|case| record(case.until.unwrap_or(case.since), case, shown)).collect()
}

fn record(at: Moment, case: &Case, shown: &Shown<'_>) -> Record {
    Record::new(at, RecordBody::signal(case, shown), shown)
}
