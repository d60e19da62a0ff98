//! Those who follow something: each record goes to all of them, and what one loses is told to it.

use std::{sync::Arc, time::Duration};

use reuse_model::{
    event::Moment,
    report::{LostEvent, Record, RecordBody, View},
};

use crate::{
    owner::{names::Names, shown::Shown},
    query::follow::Follower,
};

/// The stage at which a follower's records are lost.
const STAGE: &str = "follow";

/// Who follows.
#[derive(Debug, Default)]
pub(super) struct Followers(Vec<Follower>);

impl Followers {
    /// Gives everyone a record, made only where somebody follows.
    pub(super) fn give(&mut self, now: Moment, names: &Names, record: impl FnOnce(&Shown<'_>) -> Record) {
        if self.0.is_empty() {
            return;
        }
        let shown = Shown { names, view: View::Local };
        let record = Arc::new(record(&shown));
        for follower in &mut self.0 {
            follower.give(&record, |lost| loss(lost, now, &shown));
        }
    }

    /// Takes one in: what it wants of the past first, as `past` makes it, then each record as it comes.
    pub(super) fn join<R: IntoIterator<Item = Record>>(
        &mut self,
        mut follower: Follower,
        now: Moment,
        names: &Names,
        past: impl FnOnce(Duration, &Shown<'_>) -> R,
    ) {
        let shown = Shown { names, view: View::Local };
        if let Some(within) = follower.within {
            for record in past(within, &shown) {
                follower.give(&Arc::new(record), |lost| loss(lost, now, &shown));
            }
        }
        follower.welcome();
        self.0.push(follower);
    }

    /// Forgets who is gone, and tells losses that nothing came after.
    pub(super) fn tick(&mut self, now: Moment, names: &Names) {
        self.0.retain(|follower| !follower.is_gone());
        let shown = Shown { names, view: View::Local };
        for follower in &mut self.0 {
            follower.tell_loss(|lost| loss(lost, now, &shown));
        }
    }
}

/// The moment `within` before `now`.
pub(super) fn before(now: Moment, within: Duration) -> Moment {
    Moment(now.0.saturating_sub(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX)))
}

fn loss(lost: u64, now: Moment, shown: &Shown<'_>) -> Record {
    Record::new(now, RecordBody::Lost(LostEvent { stage: STAGE.to_owned(), lost }), shown)
}
