//! Experiments: the same flows through changes of a group's members, and which of them move.
//!
//! Each takes place on a group of its own that is gone afterwards, so that the regular probes' group stays as it is. First
//! the flows are probed twice while no member changes; then one joins, the last one leaves, the first one leaves and one
//! joins again, with a round of probes after each.

use std::time::Duration;

use reuse_model::{
    socket::Cookie,
    test_group::{Cause, Experiment, FlowSeen, Outcome, Round, Step, TestGroup as Key},
};
use tokio::time::sleep;

use super::{
    arrivals::Watched, error::OpenError, kernel_view::KernelView, listeners::Group, observation::Observation,
    outlet::Closed, probe::Cut, prober::Prober, schedule::Waiting,
};
use crate::clock::Clock;

/// Flows of one experiment: half of them move, plus or minus 3 in a hundred.
const FLOWS: usize = 256;
/// Fewest members: with fewer there is nothing to choose from, and one leaves.
const MEMBERS_MIN: usize = 2;
/// Flows probed before others get a turn, and how long that turn is.
const BATCH: usize = 8;
const PAUSE: Duration = Duration::from_millis(1);

/// What is done to the members.
#[derive(Clone, Copy, Debug)]
enum Act {
    Join,
    LeaveFirst,
    LeaveLast,
}

/// What is done between two rounds; between the first two nothing is.
const ACTS: [Option<Act>; 5] =
    [None, Some(Act::Join), Some(Act::LeaveLast), Some(Act::LeaveFirst), Some(Act::Join)];

impl From<OpenError> for Cut {
    fn from(error: OpenError) -> Self {
        Self::Failed(std::io::Error::other(error.to_string()))
    }
}

impl<V: KernelView> Prober<V> {
    /// Makes an experiment for each of `groups`, tells of them, and answers those who wait.
    pub(super) async fn experiments(&mut self, groups: &[Watched], waiting: Waiting) -> Result<(), Closed> {
        let mut done = Vec::with_capacity(groups.len());
        for group in groups {
            match self.experiment(group.key, group.cookies.len().max(MEMBERS_MIN)).await {
                Ok(experiment) => {
                    self.outlet.tell(Observation::Experiment(experiment.clone())).await?;
                    done.push(experiment);
                }
                Err(Cut::Closed) => return Err(Closed),
                Err(Cut::Failed(error)) => {
                    let name = format!("{} over {}", group.key.transport.as_str(), group.key.family.as_str());
                    log::warn!("the experiment with {name} failed: {error}");
                    waiting.tell(&Err(format!("the experiment with {name} failed: {error}")));
                    return Ok(());
                }
            }
        }
        waiting.tell(&Ok(done));
        Ok(())
    }

    /// One experiment, on a group that begins with `members` members.
    async fn experiment(&mut self, key: Key, members: usize) -> Result<Experiment, Cut> {
        let at = Clock::now();
        let group = Group::open(key.transport, key.family, 0, members)?;
        if let Some(member) = group.descriptor()
            && let Err(error) = self.view.attach(member)
        {
            log::warn!("the kernel's hash in the experiment at {} stays unknown: {error}", group.local);
        }
        let mut group = Watched::new(group)?;
        let mut closed = Vec::new();
        let steps = self.steps(&mut group, &mut closed).await;
        closed.extend(std::mem::take(&mut group.cookies));
        // No turn of anyone else in between: to the tracer a counter without a socket would be a loss.
        drop(group);
        self.view.forget(&closed);
        Ok(Experiment { group: key, at, steps: steps? })
    }

    async fn steps(&mut self, group: &mut Watched, closed: &mut Vec<Cookie>) -> Result<Vec<Step>, Cut> {
        let mut ports = vec![None; FLOWS];
        let mut steps = Vec::with_capacity(ACTS.len());
        let mut before = self.round(group, &mut ports).await?;
        for act in ACTS {
            let change = match act {
                None => None,
                Some(Act::Join) => {
                    group.add(Group::join(group.key.transport, group.local)?)?;
                    Some((Cause::Join, group.cookies.len() - 1))
                }
                Some(leave) => {
                    let place = if matches!(leave, Act::LeaveFirst) { 0 } else { group.cookies.len() - 1 };
                    closed.extend(group.cookies.get(place));
                    group.close(place);
                    self.view.forget(closed);
                    Some((Cause::Leave, place))
                }
            };
            let after = self.round(group, &mut ports).await?;
            steps.push(Step::between(change, &before, &after));
            before = after;
        }
        Ok(steps)
    }

    /// Probes every flow once. A flow's source port is of the kernel's choice in the first round; where another process has
    /// it later on, the flow is left out.
    async fn round(&mut self, group: &Watched, ports: &mut [Option<u16>]) -> Result<Round, Cut> {
        let mut flows = Vec::with_capacity(ports.len());
        for (number, port) in ports.iter_mut().enumerate() {
            if number % BATCH == 0 {
                sleep(PAUSE).await;
            }
            self.strangers.welcome();
            let probe = match self.probe(group, *port).await {
                Ok(probe) => probe,
                Err(Cut::Closed) => return Err(Cut::Closed),
                Err(Cut::Failed(error)) if port.is_some() => {
                    log::debug!("flow {number} of the experiment at {}: {error}", group.local);
                    flows.push(None);
                    continue;
                }
                Err(failed) => return Err(failed),
            };
            *port = Some(probe.source_port);
            let seen = FlowSeen::of(&probe, &group.cookies);
            // What the kernel counted elsewhere than it arrived is as little explained by the hash.
            let contradicts = probe.outcome() == Outcome::Mismatch;
            flows.push(
                seen.map(|seen| FlowSeen { predicted: seen.predicted.filter(|_| !contradicts), ..seen }),
            );
        }
        Ok(Round { members: group.cookies.clone(), flows })
    }
}
