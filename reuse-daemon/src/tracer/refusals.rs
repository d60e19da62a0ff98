//! The latest refusals, and those who follow them: each refusal, not the sums of the repeat rule.

use std::{sync::Arc, time::Duration};

use reuse_model::{
    conflict::Conflict,
    event::Moment,
    history::History,
    report::{ConflictList, LostEvent, Record, RecordBody, SCHEMA, View},
};

use crate::{
    owner::{names::Names, shown::Shown},
    query::follow::Follower,
};

/// The stage at which a follower's records are lost.
const STAGE: &str = "follow";

/// The latest refusals.
#[derive(Default)]
pub(super) struct Refusals {
    latest: History<Arc<Conflict>>,
    followers: Vec<Follower>,
}

impl Refusals {
    /// Takes a refusal in and gives it to those who follow.
    pub(super) fn take_in(&mut self, refused: Arc<Conflict>, now: Moment, names: &Names) {
        if !self.followers.is_empty() {
            let shown = Shown { names, view: View::Local };
            let record = Arc::new(Record::conflict(&refused, 1, false, &shown));
            for follower in &mut self.followers {
                follower.give(&record, |lost| loss(lost, now, &shown));
            }
        }
        let (at, weight) = (refused.call.at, refused.holders.len());
        let whose = Arc::clone(&refused.process.service);
        self.latest.push(&whose, at, refused, weight);
    }

    /// Takes a follower in: what it wants of the past first, then each refusal as it comes.
    pub(super) fn follow(&mut self, mut follower: Follower, now: Moment, names: &Names) {
        let shown = Shown { names, view: View::Local };
        if let Some(within) = follower.within {
            for refused in self.latest.since(before(now, within)) {
                let record = Arc::new(Record::conflict(refused, 1, false, &shown));
                follower.give(&record, |lost| loss(lost, now, &shown));
            }
        }
        self.followers.push(follower);
    }

    /// The refusals of the time `within` before `now`, or all that are kept.
    pub(super) fn list(
        &mut self,
        within: Option<Duration>,
        now: Moment,
        names: &Names,
        view: View,
    ) -> ConflictList<Record> {
        self.latest.forget_old(now);
        let shown = Shown { names, view };
        let from = within.map_or(Moment(0), |within| before(now, within));
        let records = self.latest.since(from).map(|refused| Record::conflict(refused, 1, false, &shown));
        ConflictList { schema: SCHEMA, conflicts: records.collect(), dropped: self.latest.dropped() }
    }

    /// Forgets what is too old and who is gone, and tells losses that nothing came after.
    pub(super) fn tick(&mut self, now: Moment, names: &Names) {
        self.latest.forget_old(now);
        self.followers.retain(|follower| !follower.is_gone());
        let shown = Shown { names, view: View::Local };
        for follower in &mut self.followers {
            follower.tell_loss(|lost| loss(lost, now, &shown));
        }
    }
}

fn before(now: Moment, within: Duration) -> Moment {
    Moment(now.0.saturating_sub(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX)))
}

fn loss(lost: u64, now: Moment, shown: &Shown<'_>) -> Record {
    Record::new(now, RecordBody::Lost(LostEvent { stage: STAGE.to_owned(), lost }), shown)
}
