//! Where observations leave the prober: probes as they come, findings by the repeat rule.

use std::{
    collections::HashMap,
    mem::{self, Discriminant},
    time::{Duration, Instant},
};

use reuse_model::test_group::TestGroup as Key;
use tokio::sync::mpsc::Sender;

use super::observation::{Finding, Observation};

/// Time over which findings of one kind at one group are summed.
const WINDOW: Duration = Duration::from_secs(10);

/// Whoever wanted the observations is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// The way out. A receiver that is slow slows the prober down; nothing piles up here.
#[derive(Debug)]
pub(super) struct Outlet {
    sink: Sender<Observation>,
    findings: Findings,
}

impl Outlet {
    pub(super) fn new(sink: Sender<Observation>) -> Self {
        Self { sink, findings: Findings::default() }
    }

    pub(super) async fn tell(&self, observation: Observation) -> Result<(), Closed> {
        self.sink.send(observation).await.map_err(|_| Closed)
    }

    /// Tells a finding if it is the first of its kind for a while, and keeps it for a sum otherwise.
    pub(super) async fn find(&mut self, finding: Finding) -> Result<(), Closed> {
        match self.findings.offer(finding, Instant::now()) {
            Some(first) => self.tell(first).await,
            None => Ok(()),
        }
    }

    /// Tells the sums that are due.
    pub(super) async fn tell_sums(&mut self) -> Result<(), Closed> {
        for sum in self.findings.due(Instant::now()) {
            self.tell(sum).await?;
        }
        Ok(())
    }
}

/// Findings that wait for the end of their window, so that a flood of strangers is no flood of records.
#[derive(Debug, Default)]
struct Findings {
    windows: HashMap<(Key, Discriminant<Finding>), Window>,
}

#[derive(Debug)]
struct Window {
    end: Instant,
    last: Option<Finding>,
    repeated: u64,
}

impl Findings {
    /// Takes a finding; gives it back when it is to be told at once.
    fn offer(&mut self, finding: Finding, now: Instant) -> Option<Observation> {
        let kind = (finding.group(), mem::discriminant(&finding));
        if let Some(window) = self.windows.get_mut(&kind) {
            window.last = Some(finding);
            window.repeated += 1;
            return None;
        }
        self.windows.insert(kind, Window { end: now + WINDOW, last: None, repeated: 0 });
        Some(Observation::Finding { finding, repeated: 1 })
    }

    /// The sums of the windows that have ended. A kind without further findings begins anew.
    fn due(&mut self, now: Instant) -> Vec<Observation> {
        let mut told = Vec::new();
        self.windows.retain(|_, window| {
            if window.end > now {
                return true;
            }
            window.end = now + WINDOW;
            let repeated = mem::take(&mut window.repeated);
            let sum = window.last.take().map(|finding| Observation::Finding { finding, repeated });
            let again = sum.is_some();
            told.extend(sum);
            again
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use reuse_model::endpoint::{Family, Transport};

    use super::*;

    fn stranger(transport: Transport, port: u16) -> Finding {
        let group = Key { transport, family: Family::Ipv4 };
        Finding::Stranger { group, member: 0, peer: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    #[test]
    fn first_is_told_at_once_and_further_ones_as_a_sum() {
        let (mut findings, start) = (Findings::default(), Instant::now());
        let first = stranger(Transport::Tcp, 1);
        assert_eq!(
            findings.offer(first.clone(), start),
            Some(Observation::Finding { finding: first, repeated: 1 })
        );
        assert_eq!(findings.offer(stranger(Transport::Tcp, 2), start), None);
        assert_eq!(findings.offer(stranger(Transport::Tcp, 3), start), None);
        assert!(
            findings.offer(stranger(Transport::Udp, 4), start).is_some(),
            "another group is another kind"
        );

        assert_eq!(findings.due(start + WINDOW / 2), []);
        let sum = Observation::Finding { finding: stranger(Transport::Tcp, 3), repeated: 2 };
        assert_eq!(findings.due(start + WINDOW), [sum]);
        assert_eq!(findings.offer(stranger(Transport::Tcp, 5), start + WINDOW), None, "the window goes on");
    }

    #[test]
    fn a_quiet_window_makes_the_next_a_first_one() {
        let (mut findings, start) = (Findings::default(), Instant::now());
        assert!(findings.offer(stranger(Transport::Tcp, 1), start).is_some());
        assert_eq!(findings.due(start + WINDOW), []);
        assert!(findings.offer(stranger(Transport::Tcp, 2), start + WINDOW).is_some());
    }
}
