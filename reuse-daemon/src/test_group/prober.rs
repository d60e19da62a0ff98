//! The pace: one probe at a time, the groups in turn, and whatever else arrives in between.

use std::{hash::RandomState, io, time::Duration};

use tokio::{
    sync::mpsc::Sender,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    arrivals::{Arrival, Watched, any},
    kernel_view::KernelView,
    observation::{Finding, Observation},
    outlet::{Closed, Outlet},
    probe::Cut,
    schedule::Schedule,
    strangers::Strangers,
};

/// Sends probes and takes whatever else arrives.
#[derive(Debug)]
pub(super) struct Prober<V> {
    pub(super) view: V,
    pub(super) outlet: Outlet,
    pub(super) strangers: Strangers,
    /// What makes nonces that nobody guesses
    pub(super) secret: RandomState,
    pub(super) sent: u64,
}

impl<V: KernelView> Prober<V> {
    pub(super) fn new(view: V, sink: Sender<Observation>) -> Self {
        Self {
            view,
            outlet: Outlet::new(sink),
            strangers: Strangers::new(),
            secret: RandomState::new(),
            sent: 0,
        }
    }

    /// Sends a probe each `period`, to each of `groups` in turn, until nobody listens any more; experiments when they are
    /// due, and no probe meanwhile. What a pause of this task or of the machine missed is not made up for: one probe
    /// follows at once, the next a whole period later.
    pub(super) async fn run(mut self, groups: &[Watched], period: Duration, mut schedule: Schedule) {
        let mut turns = groups.iter().cycle();
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                biased;
                (group, arrived) = any(groups), if self.strangers.may_come() => self.uncalled(group, arrived).await,
                waiting = schedule.due() => self.experiments(groups, waiting).await,
                _ = ticks.tick() => match turns.next() {
                    Some(group) => self.turn(group).await,
                    None => Err(Closed),
                },
            };
            if let Err(Closed) = done {
                return;
            }
        }
    }

    async fn turn(&mut self, group: &Watched) -> Result<(), Closed> {
        self.strangers.welcome();
        self.outlet.tell_sums().await?;
        match self.probe(group, None).await {
            Ok(probe) => self.outlet.tell(Observation::Probe(probe)).await,
            Err(Cut::Failed(error)) => self.failed(group, &error).await,
            Err(Cut::Closed) => Err(Closed),
        }
    }

    /// Takes what arrived while no probe was under way.
    async fn uncalled(&mut self, group: &Watched, arrived: io::Result<Arrival>) -> Result<(), Closed> {
        match arrived {
            Ok(arrival) => self.stranger(group, &arrival, &mut []).await,
            Err(error) => {
                // It would come back at once and for ever; the next probe tries again.
                self.strangers.turn_away();
                self.failed(group, &error).await
            }
        }
    }

    /// Takes an arrival that is not the probe under way, and counts it in `seen` for its member.
    pub(super) async fn stranger(
        &mut self,
        group: &Watched,
        arrival: &Arrival,
        seen: &mut [u64],
    ) -> Result<(), Closed> {
        if let Some(seen) = seen.get_mut(arrival.member) {
            *seen += 1;
        }
        if !self.strangers.take(arrival.peer) {
            return Ok(());
        }
        let (group, member, peer) = (group.key, slot(arrival.member), arrival.peer);
        self.outlet.find(Finding::Stranger { group, member, peer }).await
    }

    async fn failed(&mut self, group: &Watched, error: &io::Error) -> Result<(), Closed> {
        let reason = error.to_string();
        self.outlet.find(Finding::ProbeFailed { group: group.key, reason }).await
    }
}

/// A number of members, or the place of one, as the model has them.
pub(super) fn slot(member: usize) -> u32 {
    u32::try_from(member).unwrap_or(u32::MAX)
}
