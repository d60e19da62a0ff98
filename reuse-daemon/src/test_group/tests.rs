//! The whole prober over real loopback sockets, with stand-ins for the kernel's account.

use std::{io, net::SocketAddr, num::NonZeroU16, os::fd::BorrowedFd, time::Duration};

use reuse_model::{
    endpoint::{Family, Transport},
    socket::Cookie,
    test_group::{Probe, TestGroup as Key},
};
use tokio::{sync::mpsc, time::timeout};

use super::{Experiments, Finding, KernelView, Observation, TestGroup, experiments};
use crate::config;

mod experiment;
mod intruders;
mod opening;
mod probing;

/// What a test waits at most for one observation.
const PATIENCE: Duration = Duration::from_secs(10);

fn open(config: config::TestGroup) -> TestGroup {
    let (group, degradations) = TestGroup::open(&config).unwrap();
    for degradation in degradations {
        eprintln!("not tested: {degradation}");
    }
    group
}

fn config(probes_per_second: u32) -> config::TestGroup {
    config::TestGroup { members: 4, port: None, probes_per_second }
}

fn on_port(port: u16) -> config::TestGroup {
    config::TestGroup { port: NonZeroU16::new(port), ..config(1) }
}

fn place(group: &TestGroup, key: Key) -> Option<SocketAddr> {
    group
        .groups()
        .iter()
        .find(|one| one.transport == key.transport && one.family == key.family)
        .map(|one| one.local)
}

/// A kernel that answers every question with what a test says.
struct Told<H, D> {
    hash: H,
    deliveries: D,
}

impl<H, D> KernelView for Told<H, D>
where
    H: FnMut(u16) -> Option<u32>,
    D: FnMut(&[Cookie]) -> Vec<u64>,
{
    fn hash(&mut self, _: Transport, _: Family, source_port: u16) -> Option<u32> {
        (self.hash)(source_port)
    }

    fn deliveries(&mut self, cookies: &[Cookie]) -> Vec<u64> {
        (self.deliveries)(cookies)
    }

    fn attach(&mut self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn forget(&mut self, _: &[Cookie]) {}
}

/// A kernel that says nothing.
fn silent() -> impl KernelView {
    Told { hash: |_| None, deliveries: |cookies: &[Cookie]| vec![0; cookies.len()] }
}

/// A kernel that tells of one selection of `member` between any two looks.
fn selecting(member: usize, hash: u32) -> impl KernelView {
    let mut looks = 0;
    let deliveries = move |cookies: &[Cookie]| {
        looks += 1;
        (0..cookies.len()).map(|slot| if slot == member { looks } else { 0 }).collect()
    };
    Told { hash: move |_| Some(hash), deliveries }
}

/// A prober at work, stopped when dropped.
struct Running {
    observations: mpsc::Receiver<Observation>,
    task: tokio::task::JoinHandle<io::Result<()>>,
    experiments: Experiments,
}

impl Running {
    fn start(group: TestGroup, view: impl KernelView + Send + 'static) -> Self {
        let (sink, observations) = mpsc::channel(16);
        let (experiments, schedule) = experiments();
        Self { observations, task: tokio::spawn(group.run(view, sink, schedule)), experiments }
    }

    async fn next(&mut self) -> Observation {
        timeout(PATIENCE, self.observations.recv()).await.expect("no observation").expect("the prober ended")
    }

    /// The next probe; anything else is a failure.
    async fn probe(&mut self) -> Probe {
        match self.next().await {
            Observation::Probe(probe) => probe,
            other => panic!("{other:?}"),
        }
    }

    /// The next finding, probes passed over.
    async fn finding(&mut self) -> Finding {
        loop {
            if let Observation::Finding { finding, .. } = self.next().await {
                return finding;
            }
        }
    }

    /// Stops the prober and waits until its sockets are closed.
    async fn stop(self) {
        drop(self.observations);
        timeout(PATIENCE, self.task).await.expect("it stops").expect("no panic").expect("no error");
    }
}
