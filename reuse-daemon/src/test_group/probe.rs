//! One probe: from a new source port to the member that has it, and what the kernel says of the way.

use std::{hash::BuildHasher, io, time::Duration};

use reuse_model::test_group::Probe;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    arrivals::Watched,
    client::{Client, Nonce},
    delivery::{Delivery, growth},
    kernel_view::KernelView,
    observation::Finding,
    outlet::Closed,
    prober::{Prober, slot},
};
use crate::clock::Clock;

/// Time after which a probe counts as lost. On loopback it takes well under a millisecond.
const DEADLINE: Duration = Duration::from_secs(1);
/// How often the kernel's counts are read again where they don't tell of a probe that arrived. The kernel queues
/// first and counts when it wakes the reader, which may have looked already.
const RECOUNTS: u32 = 3;
/// Time between two readings.
const RECOUNT: Duration = Duration::from_millis(1);

/// A member that accepted or received the probe.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    member: usize,
    took: Duration,
}

/// Why a probe has no outcome.
#[derive(Debug)]
pub(super) enum Cut {
    Closed,
    /// The system refused the daemon something
    Failed(io::Error),
}

impl From<Closed> for Cut {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl<V: KernelView> Prober<V> {
    /// Sends a probe and waits for its three answers. `from`: its source port, `None` for a new one.
    pub(super) async fn probe(&mut self, group: &Watched, from: Option<u16>) -> Result<Probe, Cut> {
        let before = self.view.deliveries(&group.cookies);
        self.sent = self.sent.wrapping_add(1);
        let nonce = Nonce::from(self.secret.hash_one(self.sent).to_ne_bytes());
        let (at, began) = (Clock::now(), Instant::now());
        let client = Client::send(group.key.transport, from, group.local, nonce)?;
        let mut strangers = vec![0; group.cookies.len()];
        let accepted = self.accepted(group, &client, began, &mut strangers).await;
        if !matches!(accepted, Ok(Some(_))) {
            self.strangers.expect(client.source);
        }
        let accepted = accepted?;
        let source_port = client.source.port();
        drop(client);
        let accepter = accepted.map(|accepted| accepted.member);
        let (delivery, grown) = self.delivered(group, &before, accepter, &mut strangers).await?;
        if let Delivery::Unclear(_) = delivery {
            self.outlet.find(Finding::UnexplainedDeliveries { group: group.key, source_port, grown }).await?;
        }
        Ok(Probe {
            group: group.key,
            at,
            source_port,
            members: slot(group.cookies.len()),
            hash: self.view.hash(group.key.transport, group.key.family, source_port),
            delivered: delivery.member().map(slot),
            accepted: accepter.map(slot),
            took: accepted.map(|accepted| u64::try_from(accepted.took.as_nanos()).unwrap_or(u64::MAX)),
        })
    }

    /// Waits until a member has the probe; `None` when it is lost.
    async fn accepted(
        &mut self,
        group: &Watched,
        client: &Client,
        began: Instant,
        strangers: &mut [u64],
    ) -> Result<Option<Accepted>, Cut> {
        let deadline = began + DEADLINE;
        while self.strangers.may_come() {
            let Ok(arrived) = timeout_at(deadline, group.next()).await else { break };
            let took = began.elapsed();
            let mut arrival = arrived?;
            let Ok(ours) = timeout_at(deadline, client.recognises(&mut arrival)).await else { break };
            if ours? {
                return Ok(Some(Accepted { member: arrival.member, took }));
            }
            self.stranger(group, &arrival, strangers).await?;
        }
        Ok(None)
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
}
