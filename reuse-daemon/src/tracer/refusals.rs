//! The latest refusals, and those who follow them: each refusal, not the sums of the repeat rule.

use std::{sync::Arc, time::Duration};

use reuse_model::{
    conflict::Conflict,
    event::Moment,
    history::History,
    report::{ConflictList, Record, SCHEMA, View},
};

use super::followers::{Followers, before};
use crate::{
    owner::{names::Names, shown::Shown},
    query::follow::Follower,
};

/// The latest refusals.
#[derive(Default)]
pub(super) struct Refusals {
    latest: History<Arc<Conflict>>,
    followers: Followers,
}

impl Refusals {
    /// Takes a refusal in and gives it to those who follow.
    pub(super) fn take_in(&mut self, refused: Arc<Conflict>, now: Moment, names: &Names) {
        self.followers.give(now, names, |shown| Record::conflict(&refused, 1, false, shown));
        let (at, weight) = (refused.call.at, refused.holders.len());
        let whose = Arc::clone(&refused.process.service);
        self.latest.push(&whose, at, refused, weight);
    }

    /// Takes a follower in: what it wants of the past first, then each refusal as it comes.
    pub(super) fn follow(&mut self, follower: Follower, now: Moment, names: &Names) {
        let latest = &self.latest;
        self.followers.join(follower, now, names, |within, shown| {
            let wanted = latest.since(before(now, within));
            wanted.map(|refused| Record::conflict(refused, 1, false, shown)).collect::<Vec<_>>()
        });
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
        self.followers.tick(now, names);
    }
}
