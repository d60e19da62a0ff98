//! Whose turn it is: everything that wants the tracer's attention gets it, one at a time, with the ring read first.

use std::{io, time::Duration};

use anyhow::Context as _;
use reuse_ebpf::record::RING_BYTES;
use reuse_model::{attempt::LOOK, endpoint::Endpoint, event::Snapshot, test_group::TestGroup as Key};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    task::{JoinHandle, yield_now},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::checker::{Notice, What};
use crate::{
    allocator,
    config::TelemetryPath,
    kernel::ring::Ring,
    query::{
        Questions,
        follow::Follower,
        local::{LocalAnswer, LocalQuery},
    },
    reload::{ConfigFile, Reloaded},
    test_group::{Observation, TestGroup},
    tracer::Tracer,
};

/// Time between two looks at all sockets of the host. What the events miss is wrong for at most so long.
const RECONCILE: Duration = Duration::from_secs(10);
/// Least time between two looks, when something asks for one out of turn.
const RECONCILE_AGAIN: Duration = Duration::from_millis(500);
/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(500);
/// Most bytes of records taken in before others get a turn.
const BATCH: usize = 256 << 10;

/// SIGTERM or SIGINT.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Everything that wants the tracer's attention, one at a time.
pub(super) struct Turns {
    pub(super) tracer: Tracer,
    pub(super) ring: Ring,
    pub(super) questions: Questions,
    pub(super) local_questions: Questions<LocalQuery, LocalAnswer>,
    /// Those who want to follow
    pub(super) joining: mpsc::Receiver<Follower>,
    pub(super) observed: mpsc::Receiver<Observation>,
    /// What the process that tries claims does
    pub(super) noticed: mpsc::Receiver<Notice>,
    /// To be told once everything that was there first is known
    pub(super) ready: Option<oneshot::Sender<()>>,
    pub(super) telemetry_path: TelemetryPath,
    /// SIGHUP: to read the configuration file anew
    pub(super) hangup: Signal,
    pub(super) config_file: Option<ConfigFile>,
    /// A snapshot that is being read
    pub(super) snapshot: Option<JoinHandle<io::Result<Snapshot>>>,
    pub(super) snapshot_began: Instant,
}

impl Turns {
    pub(super) fn announce(&mut self, test_group: &TestGroup) {
        for group in test_group.groups() {
            let key = Key { transport: group.transport, family: group.family };
            let members = u32::try_from(group.members.len()).unwrap_or(u32::MAX);
            let local = Endpoint { address: group.local.ip(), port: group.local.port() };
            self.tracer.test_groups().announce(key, local, members);
        }
    }

    pub(super) async fn run(&mut self, mut stop: Stop) -> anyhow::Result<()> {
        self.begin_snapshot();
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Kept from turn to turn: a host on which something happens all the time is looked at all the same.
        let mut looks = interval_at(Instant::now(), LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                signal = stop.asked() => {
                    log::info!("{signal}: stopping");
                    return Ok(());
                }
                turn = self.turn(&mut ticks, &mut looks) => turn?,
            }
        }
    }

    /// One turn, of whoever wants one: by chance where several do, so that a crowd of one kind keeps nobody else waiting.
    async fn turn(&mut self, ticks: &mut Interval, looks: &mut Interval) -> anyhow::Result<()> {
        tokio::select! {
            Some(()) = self.hangup.recv() => self.reload().await,
            Some(asked) = self.questions.next() => {
                self.look().await;
                let answer = self.tracer.answer(asked.query, &self.telemetry_path);
                asked.answer(&answer);
            }
            Some(asked) = self.local_questions.next() => {
                self.look().await;
                let answer = self.tracer.answer_local(asked.query);
                asked.answer(&answer);
            }
            Some(follower) = self.joining.recv() => {
                self.catch_up().await;
                self.tracer.follow(follower);
            }
            read = finished(&mut self.snapshot) => {
                self.snapshot = None;
                self.take_in(read).await;
            }
            Some(observation) = self.observed.recv() => self.tracer.observe(&observation),
            Some(notice) = self.noticed.recv() => self.notice(notice).await,
            _ = ticks.tick() => self.tick().await,
            _ = looks.tick(), if self.tracer.has_open_attempts() || self.tracer.has_signals_to_judge() => {
                self.look().await;
            }
            ready = self.ring.ready() => {
                ready.context("cannot wait for the kernel's events")?;
                self.catch_up().await;
            }
        }
        Ok(())
    }

    /// Takes in everything that happened until now. Others have turns meanwhile, which is what makes a question in a flood
    /// wait for one ring and not for one of each turn.
    async fn catch_up(&mut self) {
        let tracer = &mut self.tracer;
        let mut held = RING_BYTES as usize;
        while held > 0 {
            let taken = self.ring.drain(held.min(BATCH), |bytes| tracer.record(bytes));
            let emptied = taken < held.min(BATCH);
            if emptied {
                tracer.settle();
            }
            yield_now().await;
            if emptied {
                return;
            }
            held = held.saturating_sub(taken);
        }
    }

    /// Does so, and judges what is due: an answer has it all.
    async fn look(&mut self) {
        self.catch_up().await;
        self.tracer.judge();
    }

    /// Puts the policy of the configuration file in force as it is now; one that is wrong changes nothing.
    async fn reload(&mut self) {
        let Some(file) = &self.config_file else {
            log::warn!("SIGHUP: there is nothing to reload, the daemon runs without --config.file");
            return;
        };
        match file.reload() {
            Ok(Reloaded { policy, need_restart }) => {
                log::info!(
                    "SIGHUP: the policy of {} is in force, {} expectations and {} severities",
                    file.path.display(),
                    policy.expected.len(),
                    policy.severities.len()
                );
                for flag in need_restart {
                    log::warn!("SIGHUP: --{flag} is another now: that needs a restart");
                }
                self.catch_up().await;
                self.tracer.set_policy(policy);
            }
            Err(error) => {
                log::error!("SIGHUP: {error}; the policy stays as it was");
                self.tracer.keep_policy();
            }
        }
    }

    async fn notice(&mut self, notice: Notice) {
        self.catch_up().await;
        match notice.what {
            What::Begins(namespace) => self.tracer.check_begins(namespace),
            What::Ended(report) => {
                self.tracer.check_ended(report.as_ref());
                // It had thousands of sockets, and comes again tomorrow.
                allocator::return_memory();
            }
        }
        // Who is stopping waits for no answer.
        let _ = notice.heard.send(());
    }

    async fn tick(&mut self) {
        self.catch_up().await;
        self.tracer.tick();
        let since = self.snapshot_began.elapsed();
        let early = since >= RECONCILE_AGAIN && self.tracer.wants_snapshot();
        if self.snapshot.is_none() && (since >= RECONCILE || early) {
            self.begin_snapshot();
        }
    }

    fn begin_snapshot(&mut self) {
        self.snapshot_began = Instant::now();
        match self.tracer.snapshot() {
            Ok(pending) => self.snapshot = Some(tokio::task::spawn_blocking(|| pending.read())),
            Err(error) => log::warn!("cannot look at the sockets of the host, trying again: {error}"),
        }
    }

    async fn take_in(&mut self, read: io::Result<Snapshot>) {
        match read {
            Ok(snapshot) => {
                // What happened before the snapshot's end must be known before it is compared.
                self.catch_up().await;
                self.tracer.reconcile(&snapshot);
                // Also where nobody scrapes: sockets that are gone leave the kernel's map only after their last count.
                self.tracer.count_selections();
                self.tracer.tell_losses();
                if let Some(ready) = self.ready.take() {
                    // Nobody waits where nothing is to be tried.
                    let _ = ready.send(());
                }
            }
            Err(error) => log::warn!("cannot read the sockets of the host, trying again: {error}"),
        }
    }

    pub(super) async fn finish(&mut self) {
        self.catch_up().await;
        self.tracer.tell_losses();
        self.tracer.finish();
    }
}

/// The snapshot being read, once it is; never, if none is.
async fn finished(snapshot: &mut Option<JoinHandle<io::Result<Snapshot>>>) -> io::Result<Snapshot> {
    match snapshot {
        Some(reading) => reading.await.unwrap_or_else(|error| Err(io::Error::other(error))),
        None => std::future::pending().await,
    }
}
