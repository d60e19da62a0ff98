//! Differential fuzzer of the rulebook: random sockets meet on one port, and what the rulebook predicts of every `bind`
//! and `listen` is held against what the running kernel answers.
//!
//! [`generate`] writes a [`scenario`]; [`judge`] plays it in a [`room`] of its own, the sockets being kept in a
//! [`world`]. What disagrees is made small by [`shrink`].

mod cli;
mod destroy;
mod devices;
mod generate;
mod judge;
mod kernel;
mod netlink;
mod overlap;
mod refusals;
mod room;
mod scenario;
mod shrink;
mod system;
mod tally;
mod worker;
mod world;

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser as _;

use crate::{
    cli::Cli,
    tally::Tally,
    worker::{Run, work},
};

/// Scenarios of a run that is given no end.
const SCENARIOS: u64 = 10_000;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match fuzz(&Cli::parse()) {
        Ok(tally) if tally.disagreements == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz-rules: error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn fuzz(cli: &Cli) -> Result<Tally> {
    let began = Instant::now();
    let run = Run {
        seed: cli.seed.unwrap_or_else(|| fastrand::u64(..1 << 48)),
        scenarios: cli.scenarios.unwrap_or(if cli.seconds.is_some() { u64::MAX } else { SCENARIOS }),
        ends: cli.seconds.map(|seconds| began + Duration::from_secs(seconds)),
        transport: cli.protocol.map(Into::into),
        keep_going: cli.keep_going,
        refusals: cli.refusals,
        begun: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        total: Mutex::new(Tally::default()),
    };
    let threads = cli.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let goal = match (cli.scenarios, cli.seconds) {
        (None, Some(seconds)) => format!("{seconds} s of scenarios"),
        _ => format!("{} scenarios", run.scenarios),
    };
    eprintln!("fuzz-rules: {goal} from seed {}, {threads} threads", run.seed);
    let run = &run;
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads.max(1)).map(|number| scope.spawn(move || work(run, number))).collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(10));
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let begun = run.begun.load(Ordering::Relaxed).min(run.scenarios);
                eprintln!("fuzz-rules: {begun} scenarios, goal {goal}");
            }
        }
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let tally = run.total.lock().unwrap_or_else(PoisonError::into_inner).clone();
    eprintln!("{tally}\nin {:.1} s", began.elapsed().as_secs_f64());
    println!("fuzz-rules: {}", tally.verdict());
    Ok(tally)
}
