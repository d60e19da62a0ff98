//! The probes: one at a time, each from a new source port, the groups in turn, and what the kernel and the members
//! say of it.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    time::Duration,
};

use reuse_model::test_group::Probe;
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout_at},
};

use super::{
    arrivals::{Arrival, Watched, any},
    client::{Client, Nonce},
    delivery::{Delivery, growth},
    kernel_view::KernelView,
    observation::{Finding, Observation},
    outlet::{Closed, Outlet},
    strangers::Strangers,
};
use crate::clock::Clock;

/// Time after which a probe counts as lost. On loopback it takes well under a millisecond.
const DEADLINE: Duration = Duration::from_secs(1);
/// How often the kernel's counts are read again where they don't tell of a probe that arrived. The kernel queues
/// first and counts when it wakes the reader, which may have looked already.
const RECOUNTS: u32 = 3;
/// Time between two readings.
const RECOUNT: Duration = Duration::from_millis(1);

/// Sends probes and takes whatever else arrives.
#[derive(Debug)]
pub(super) struct Prober<V> {
    view: V,
    outlet: Outlet,
    strangers: Strangers,
    secret: RandomState,
    sent: u64,
}

/// A member that accepted or received the probe.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    member: usize,
    took: Duration,
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

    /// Sends a probe each `period`, to each of `groups` in turn, until nobody listens any more. What a pause of this
    /// task or of the machine missed is not made up for: one probe follows at once, the next a whole period later.
    pub(super) async fn run(mut self, groups: &[Watched], period: Duration) {
        let mut turns = groups.iter().cycle();
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                biased;
                (group, arrived) = any(groups), if self.strangers.may_come() => self.uncalled(group, arrived).await,
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
        match self.probe(group).await? {
            Ok(probe) => self.outlet.tell(Observation::Probe(probe)).await,
            Err(error) => self.failed(group, &error).await,
        }
    }

    async fn probe(&mut self, group: &Watched) -> Result<io::Result<Probe>, Closed> {
        let before = self.view.deliveries(&group.cookies);
        self.sent = self.sent.wrapping_add(1);
        let nonce = Nonce::from(self.secret.hash_one(self.sent).to_ne_bytes());
        let (at, began) = (Clock::now(), Instant::now());
        let client = match Client::send(group.key.transport, group.local, nonce) {
            Ok(client) => client,
            Err(error) => return Ok(Err(error)),
        };
        let mut strangers = vec![0; group.cookies.len()];
        let accepted = match self.accepted(group, &client, began, &mut strangers).await? {
            Ok(accepted) => accepted,
            Err(error) => return Ok(Err(error)),
        };
        let source_port = client.source.port();
        drop(client);
        let accepter = accepted.map(|accepted| accepted.member);
        let (delivery, grown) = self.delivered(group, &before, accepter, &mut strangers).await?;
        if let Delivery::Unclear(_) = delivery {
            self.outlet.find(Finding::UnexplainedDeliveries { group: group.key, source_port, grown }).await?;
        }
        Ok(Ok(Probe {
            group: group.key,
            at,
            source_port,
            members: slot(group.cookies.len()),
            hash: self.view.hash(group.key.transport, group.key.family, source_port),
            delivered: delivery.member().map(slot),
            accepted: accepter.map(slot),
            took: accepted.map(|accepted| u64::try_from(accepted.took.as_nanos()).unwrap_or(u64::MAX)),
        }))
    }

    /// Waits until a member has the probe; `None` when it is lost. One that no member had may come yet.
    async fn accepted(
        &mut self,
        group: &Watched,
        client: &Client,
        began: Instant,
        strangers: &mut [u64],
    ) -> Result<io::Result<Option<Accepted>>, Closed> {
        let accepted = self.await_member(group, client, began, strangers).await?;
        if !matches!(accepted, Ok(Some(_))) {
            self.strangers.expect(client.source);
        }
        Ok(accepted)
    }

    async fn await_member(
        &mut self,
        group: &Watched,
        client: &Client,
        began: Instant,
        strangers: &mut [u64],
    ) -> Result<io::Result<Option<Accepted>>, Closed> {
        let deadline = began + DEADLINE;
        while self.strangers.may_come() {
            let Ok(arrived) = timeout_at(deadline, group.next()).await else { break };
            let took = began.elapsed();
            let mut arrival = match arrived {
                Ok(arrival) => arrival,
                Err(error) => return Ok(Err(error)),
            };
            match timeout_at(deadline, client.recognises(&mut arrival)).await {
                Ok(Ok(true)) => return Ok(Ok(Some(Accepted { member: arrival.member, took }))),
                Ok(Ok(false)) => self.stranger(group, &arrival, strangers).await?,
                Ok(Err(error)) => return Ok(Err(error)),
                Err(_) => break,
            }
        }
        Ok(Ok(None))
    }

    /// Asks the kernel to which member it delivered, and by how much each count grew.
    async fn delivered(
        &mut self,
        group: &Watched,
        before: &[u64],
        accepted: Option<usize>,
        strangers: &mut [u64],
    ) -> Result<(Delivery, Vec<u64>), Closed> {
        let mut recounts = if accepted.is_some() { RECOUNTS } else { 0 };
        loop {
            let grown = growth(before, &self.view.deliveries(&group.cookies));
            let delivery = Delivery::of(&grown, strangers, accepted);
            if matches!(delivery, Delivery::To(_)) || recounts == 0 {
                return Ok((delivery, grown));
            }
            recounts -= 1;
            let again = Instant::now() + RECOUNT;
            while self.strangers.may_come() {
                // An error shows at the next probe; the counts don't depend on it.
                let Ok(Ok(arrival)) = timeout_at(again, group.next()).await else { break };
                self.stranger(group, &arrival, strangers).await?;
            }
            sleep_until(again).await;
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

    async fn stranger(&mut self, group: &Watched, arrival: &Arrival, seen: &mut [u64]) -> Result<(), Closed> {
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
fn slot(member: usize) -> u32 {
    u32::try_from(member).unwrap_or(u32::MAX)
}
