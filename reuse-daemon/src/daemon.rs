//! The daemon's wiring: load, attach, read what is there, serve, probe, reconcile, stop.
//!
//! One thread runs the tracer, the web side and the prober as tasks; only reading a snapshot and writing events have
//! threads of their own.

mod checker;

use std::{io, net::TcpListener, time::Duration};

use anyhow::Context as _;
use log::{Level, log_enabled};
use reuse_ebpf::record::RING_BYTES;
use reuse_model::{
    attempt::LOOK, endpoint::Endpoint, event::Snapshot, repeats::Mode, report::View, signal::Policy,
    test_group::TestGroup as Key,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, yield_now},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use crate::{
    cli::run::{CommandLines, Repeats},
    config::{Config, TelemetryPath},
    export::{
        events::EventWriter,
        local::{self, LocalSocket, Sources},
        web,
    },
    kernel::{
        attach::{self, Kernel, Options},
        own_groups::OwnGroups,
        plan::Wanted,
        ring::Ring,
    },
    owner::command_lines,
    query::{
        self, Questions,
        follow::{self, Follower},
        local::{LocalAnswer, LocalQuery},
    },
    reload::{ConfigFile, Reloaded},
    test_group::{self, Observation, TestGroup},
    tracer::{self, Outlet, Parts, Tracer},
};
use checker::{Notice, What};

/// Time between two looks at all sockets of the host. What the events miss is wrong for at most so long.
const RECONCILE: Duration = Duration::from_secs(10);
/// Least time between two looks, when something asks for one out of turn.
const RECONCILE_AGAIN: Duration = Duration::from_millis(500);
/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(500);
/// Most bytes of records taken in before others get a turn.
const BATCH: usize = 256 << 10;
/// Observations of the prober that may wait.
const OBSERVATIONS: usize = 64;

/// What was made before the runtime: the listeners are there before anything is attached, so that a daemon that cannot
/// serve changes nothing.
pub struct Prepared {
    /// What was asked for
    pub config: Config,
    /// The file it came from, if any
    pub config_file: Option<ConfigFile>,
    /// What the file expects of signals
    pub policy: Policy,
    /// Bound listeners
    pub listeners: Vec<TcpListener>,
    /// The local socket, listening
    pub local: LocalSocket,
    /// Whether text events may have colour
    pub colored: bool,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What cannot be started, and why.
pub async fn run(prepared: Prepared) -> anyhow::Result<()> {
    let Prepared { config, config_file, policy, listeners, local, colored } = prepared;
    let stop = Stop::listen().context("cannot wait for signals")?;
    let hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    let options = Options {
        btf: config.btf_path.as_deref(),
        wanted: Wanted { syscalls: config.trace_syscalls, sendto: config.trace_sendto },
        avoid: &config.trace_avoid,
        log_level: kernel_log_level(),
    };
    let (mut kernel, maps) = attach::start(&options)?;
    if config.strict && !kernel.gaps.is_empty() {
        let gaps: Vec<_> =
            kernel.gaps.iter().map(|gap| format!("{}: {}", gap.tier.as_str(), gap.reason)).collect();
        anyhow::bail!("--config.strict is set and not everything can be seen: {}", gaps.join("; "));
    }
    for gap in &kernel.gaps {
        log::warn!("not seen ({}): {}; {}", gap.tier.as_str(), gap.reason, gap.remedy);
    }
    for off in &kernel.off {
        log::info!("not looked for ({}): {}; to have it: {}", off.tier.as_str(), off.reason, off.remedy);
    }
    let test_group = match config.test_group {
        Some(wanted) => Some(open_test_group(&wanted, &mut kernel)?),
        None => None,
    };
    let own_group = kernel.own_group_program().ok();
    let command_lines = command_lines::CommandLines::new(tracer::procfs(kernel.sees_all_processes()));
    let mut tracer = Tracer::new(Parts {
        kernel,
        selections: maps.selections,
        watched: maps.watched,
        losses: maps.losses,
        passed: maps.passed,
        owners: maps.owners,
        own_pid: maps.own_pid,
        outlet: outlet(&config, colored)?,
        event_view: event_view(&config),
        max_series: config.max_series,
    })?;
    tracer.set_policy(policy);

    let (asker, questions) = query::boundary();
    let (serving_stop, serving_stopped) = watch::channel(false);
    let server = web::Server::new(listeners, web::router(asker, &config.web.telemetry_path))?;
    let web = tokio::spawn(server.run(serving_stopped.clone()));
    let (local_asker, local_questions) = query::boundary();
    let (followers, joining) = follow::followers();
    let (experiments, schedule) = test_group::experiments();
    let experiments = test_group.is_some().then_some(experiments);
    let sources = Sources { tracer: local_asker, followers, command_lines, experiments };
    let server = local::Server::new(local, sources).context("cannot serve the local socket")?;
    let local = tokio::spawn(server.run(serving_stopped));
    let (observations, observed) = mpsc::channel(OBSERVATIONS);
    let (ready, is_ready) = oneshot::channel();
    let (notices, noticed) = mpsc::channel(1);
    let checker = config.check.then(|| tokio::spawn(checker::run(is_ready, notices)));
    let mut turns = Turns {
        tracer,
        ring: maps.ring,
        questions,
        local_questions,
        joining,
        observed,
        noticed,
        ready: Some(ready),
        telemetry_path: config.web.telemetry_path,
        hangup,
        config_file,
        snapshot: None,
        snapshot_began: Instant::now(),
    };
    let prober = test_group.map(|test_group| {
        turns.announce(&test_group);
        let view = OwnGroups::new(maps.own_selections, maps.hashes, own_group);
        tokio::spawn(test_group.run(view, observations, schedule))
    });
    let ended = turns.run(stop).await;

    if let Some(prober) = prober {
        prober.abort();
    }
    if let Some(checker) = checker {
        checker.abort();
    }
    let _ = serving_stop.send(true);
    let _ = web.await;
    turns.finish().await;
    // Those who follow get what was taken in last, and then the end.
    drop(turns);
    let _ = local.await;
    ended
}

fn outlet(config: &Config, colored: bool) -> anyhow::Result<Outlet> {
    let Some(output) = config.events else { return Ok(Outlet::new(None, Mode::Summary)) };
    let mode = match output.repeats {
        Repeats::Summary => Mode::Summary,
        Repeats::All => Mode::All,
    };
    let writer = EventWriter::stdout(output.format, colored).context("cannot write events to stdout")?;
    Ok(Outlet::new(Some(writer), mode))
}

fn event_view(config: &Config) -> View {
    match config.events.map(|output| output.command_lines) {
        Some(CommandLines::Full) => View::Local,
        Some(CommandLines::None) | None => View::Network,
    }
}

/// aya-log's number of the log level, 0 where kernel-side diagnostics are not asked for: the verifier then prunes them.
fn kernel_log_level() -> u8 {
    if log_enabled!(Level::Trace) {
        5
    } else if log_enabled!(Level::Debug) {
        4
    } else {
        0
    }
}

fn open_test_group(wanted: &crate::config::TestGroup, kernel: &mut Kernel) -> anyhow::Result<TestGroup> {
    let (test_group, degradations) = TestGroup::open(wanted).context("cannot open the test group")?;
    for degradation in degradations {
        log::warn!("{degradation}");
    }
    for group in test_group.groups() {
        let Some(member) = group.descriptor() else { continue };
        if let Err(error) = kernel.attach_to_own_group(member) {
            log::warn!("the kernel's hash on the test group at {} stays unknown: {error}", group.local);
        }
    }
    Ok(test_group)
}

/// SIGTERM or SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
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
struct Turns {
    tracer: Tracer,
    ring: Ring,
    questions: Questions,
    local_questions: Questions<LocalQuery, LocalAnswer>,
    /// Those who want to follow
    joining: mpsc::Receiver<Follower>,
    observed: mpsc::Receiver<Observation>,
    /// What the process that tries claims does
    noticed: mpsc::Receiver<Notice>,
    /// To be told once everything that was there first is known
    ready: Option<oneshot::Sender<()>>,
    telemetry_path: TelemetryPath,
    /// SIGHUP: to read the configuration file anew
    hangup: Signal,
    config_file: Option<ConfigFile>,
    /// A snapshot that is being read
    snapshot: Option<JoinHandle<io::Result<Snapshot>>>,
    snapshot_began: Instant,
}

impl Turns {
    fn announce(&mut self, test_group: &TestGroup) {
        for group in test_group.groups() {
            let key = Key { transport: group.transport, family: group.family };
            let members = u32::try_from(group.members.len()).unwrap_or(u32::MAX);
            let local = Endpoint { address: group.local.ip(), port: group.local.port() };
            self.tracer.test_groups().announce(key, local, members);
        }
    }

    async fn run(&mut self, mut stop: Stop) -> anyhow::Result<()> {
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
                self.catch_up().await;
                let answer = self.tracer.answer(asked.query, &self.telemetry_path);
                asked.answer(&answer);
            }
            Some(asked) = self.local_questions.next() => {
                self.catch_up().await;
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
                self.catch_up().await;
                self.tracer.judge();
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
            What::Ended(report) => self.tracer.check_ended(report.as_ref()),
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

    async fn finish(&mut self) {
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
