//! The daemon's wiring: load, attach, read what is there, serve, probe, reconcile, stop.
//!
//! One thread runs the tracer, the web side and the prober as tasks; only reading a snapshot and writing events have
//! threads of their own.

mod checker;
mod turns;

use std::net::TcpListener;

use anyhow::Context as _;
use log::{Level, log_enabled};
use reuse_model::{repeats::Mode, report::View, signal::Policy};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    cli::run::{CommandLines, Repeats},
    config::Config,
    export::{
        events::EventWriter,
        local::{self, LocalSocket, Sources},
        web,
    },
    kernel::{
        attach::{self, Kernel, Options},
        own_groups::OwnGroups,
        plan::Wanted,
    },
    owner::command_lines,
    query::{self, follow},
    reload::ConfigFile,
    test_group::{self, TestGroup},
    tracer::{self, Outlet, Parts, Tracer},
};
use turns::{Stop, Turns};

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
