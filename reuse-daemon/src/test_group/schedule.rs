//! When experiments take place: once an hour, and when someone asks.

use std::time::Duration;

use reuse_model::test_group::Experiment;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

/// Time from one experiment to the next.
const PERIOD: Duration = Duration::from_secs(3600);
/// Requests that may wait; they all get the same answer.
const WAITING: usize = 16;

/// What became of the experiments, one for each group, or why there is none.
pub(super) type Outcome = Result<Vec<Experiment>, String>;

/// The way to ask for experiments.
#[derive(Clone, Debug)]
pub struct Experiments {
    requests: mpsc::Sender<oneshot::Sender<Outcome>>,
}

impl Experiments {
    /// Asks for experiments and waits until they are done, which takes seconds.
    ///
    /// # Errors
    /// Too many ask, the daemon stops, or the system refused it a socket: why, a sentence.
    pub async fn ask(&self) -> Result<Vec<Experiment>, String> {
        let (reply, outcome) = oneshot::channel();
        self.requests.try_send(reply).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "too many wait for an experiment; try again".to_owned(),
            mpsc::error::TrySendError::Closed(_) => "the prober has stopped".to_owned(),
        })?;
        outcome.await.unwrap_or_else(|_| Err("the daemon is stopping".to_owned()))
    }
}

/// When the next ones are due.
#[derive(Debug)]
pub struct Schedule {
    requests: mpsc::Receiver<oneshot::Sender<Outcome>>,
    hourly: Interval,
}

/// The way to ask for experiments, and the schedule that follows it. The first hour begins now.
///
/// # Panics
/// Outside of a tokio runtime with time enabled.
#[must_use]
pub fn experiments() -> (Experiments, Schedule) {
    let (sender, requests) = mpsc::channel(WAITING);
    let mut hourly = interval_at(Instant::now() + PERIOD, PERIOD);
    hourly.set_missed_tick_behavior(MissedTickBehavior::Delay);
    (Experiments { requests: sender }, Schedule { requests, hourly })
}

impl Schedule {
    /// Waits until experiments are due, and gives those who wait for them.
    ///
    /// Cancel safe: nothing is taken before it returns.
    pub(super) async fn due(&mut self) -> Waiting {
        let mut waiting = tokio::select! {
            Some(request) = self.requests.recv() => vec![request],
            _ = self.hourly.tick() => Vec::new(),
        };
        while let Ok(request) = self.requests.try_recv() {
            waiting.push(request);
        }
        Waiting(waiting)
    }
}

/// Those who wait for experiments, perhaps nobody.
#[derive(Debug)]
pub(super) struct Waiting(Vec<oneshot::Sender<Outcome>>);

impl Waiting {
    /// Tells them all.
    pub(super) fn tell(self, outcome: &Outcome) {
        for reply in self.0 {
            // Who asked may have gone away meanwhile.
            let _ = reply.send(outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{join, time::timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_hour_one_is_due_without_anyone_asking() {
        let (_asker, mut schedule) = experiments();
        for _ in 0..3 {
            let began = Instant::now();
            assert!(
                timeout(PERIOD - Duration::from_millis(10), schedule.due()).await.is_err(),
                "before the hour"
            );
            let waiting = schedule.due().await;
            assert!(waiting.0.is_empty(), "nobody asked");
            let passed = began.elapsed();
            assert!(passed <= PERIOD + Duration::from_millis(10), "{passed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_together_share_one_at_once() {
        let (asker, mut schedule) = experiments();
        let began = Instant::now();
        let answering = async {
            let waiting = schedule.due().await;
            let count = waiting.0.len();
            waiting.tell(&Ok(Vec::new()));
            count
        };
        let (one, two, count) = join!(biased; asker.ask(), asker.ask(), answering);
        assert_eq!((one, two, count), (Ok(Vec::new()), Ok(Vec::new()), 2));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_prober_that_is_gone() {
        let (asker, schedule) = experiments();
        drop(schedule);
        assert!(asker.ask().await.is_err());
        let (asker, mut schedule) = experiments();
        let dropped = async { drop(schedule.due().await) };
        let (asked, ()) = join!(biased; asker.ask(), dropped);
        assert_eq!(asked, Err("the daemon is stopping".to_owned()));
    }
}
