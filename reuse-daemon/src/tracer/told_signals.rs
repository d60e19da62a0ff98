//! Signals on their way out: to those who follow, to the events, and to those who ask.

use std::time::Duration;

use reuse_model::{
    event::Moment,
    report::{Record, RecordBody, SCHEMA, SignalList},
    signal::{Case, Severity, Signals, Told},
};
use serde::{Serialize, Serializer};

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
            let cases = in_order(signals.active(), signals.ended_since(before(now, within)));
            cases.into_iter().map(|case| record_of(case, shown)).collect::<Vec<_>>()
        });
    }

    /// Forgets who is gone, and tells losses that nothing came after.
    pub(super) fn tick(&mut self, now: Moment, names: &Names) {
        self.followers.tick(now, names);
    }
}

/// The active signals and those that ended in the time `within` before `now`, or all that are kept.
pub(super) fn list<'a>(
    signals: &'a Signals,
    within: Option<Duration>,
    now: Moment,
    shown: Shown<'a>,
) -> SignalList<Records<'a>> {
    let from = within.map_or(Moment(0), |within| before(now, within));
    let cases = in_order(signals.active(), signals.ended_since(from));
    SignalList { schema: SCHEMA, signals: Records { cases, shown }, dropped: signals.dropped() }
}

/// A record for each of many signals, made when it is wanted: written one by one, only one is there at a time.
pub(super) struct Records<'a> {
    cases: Vec<&'a Case>,
    shown: Shown<'a>,
}

impl Records<'_> {
    /// All at once.
    pub(super) fn collect(&self) -> Vec<Record> {
        self.iter().collect()
    }

    fn iter(&self) -> impl Iterator<Item = Record> {
        self.cases.iter().map(|case| record_of(case, &self.shown))
    }
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// How many signals of each severity are active, the gravest first.
pub(super) fn active(signals: &Signals) -> [(Severity, usize); 3] {
    let [info, warning, critical] =
        Severity::ALL.map(|one| (one, signals.active().filter(|case| case.severity == one).count()));
    [critical, warning, info]
}

/// In the order in which they began.
fn in_order<'a>(
    active: impl Iterator<Item = &'a Case>,
    ended: impl Iterator<Item = &'a Case>,
) -> Vec<&'a Case> {
    let mut cases: Vec<_> = ended.chain(active).collect();
    cases.sort_by_key(|case| case.since);
    cases
}

/// Its begin or, if it has ended, its end.
fn record_of(case: &Case, shown: &Shown<'_>) -> Record {
    record(case.until.unwrap_or(case.since), case, shown)
}

fn record(at: Moment, case: &Case, shown: &Shown<'_>) -> Record {
    Record::new(at, RecordBody::signal(case, shown), shown)
}
