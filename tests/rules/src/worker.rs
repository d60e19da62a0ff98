//! A thread that plays scenarios, one after the other, in namespaces of its own.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use reuse_daemon::kernel::port_reader::PortReader;
use reuse_model::endpoint::Transport;

use crate::{
    generate,
    judge::{Disagreement, Judge},
    kernel,
    refusals::Refusals,
    room::{Equipment, Room},
    scenario::Scenario,
    shrink::shrink,
    tally::Tally,
};

/// How long a connection may take to arrive where it is going: acknowledgements are delayed by 40 ms, and by up to 200
/// (`TCP_DELACK_MIN`, `TCP_DELACK_MAX`, include/net/tcp.h).
const SETTLING: Duration = Duration::from_millis(500);

/// What a run is to do, and how far it is; shared by its threads.
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) scenarios: u64,
    /// When to begin no more
    pub(crate) ends: Option<Instant>,
    pub(crate) transport: Option<Transport>,
    pub(crate) keep_going: bool,
    pub(crate) refusals: bool,
    /// Scenarios begun
    pub(crate) begun: AtomicU64,
    /// Whether to begin no more
    pub(crate) stop: AtomicBool,
    /// Of the threads that are done
    pub(crate) total: Mutex<Tally>,
}

/// Plays scenarios until there are no more, or one disagrees and the run is not to go on.
///
/// # Errors
/// Where something fails that has nothing to do with the rulebook.
pub(crate) fn work(run: &Run, processor: usize) -> Result<()> {
    let mut tally = Tally::default();
    let result = stay_on(processor).and_then(|()| play_all(run, processor, &mut tally));
    if result.is_err() {
        run.stop.store(true, Ordering::Relaxed);
    }
    *run.total.lock().unwrap_or_else(PoisonError::into_inner) += tally;
    result
}

fn play_all(run: &Run, processor: usize, tally: &mut Tally) -> Result<()> {
    let mut reader = PortReader::open(None).context("loading the reader of ports")?;
    let kernel = reader.rules;
    let mut refusals = Refusals::new(run.refusals);
    let mut room = Room::new()?;
    if processor == 0 {
        println!("fuzz-rules: {}", kernel::introduce(&kernel));
        tell(room.equipment());
    }
    while !run.stop.load(Ordering::Relaxed) {
        let number = run.begun.fetch_add(1, Ordering::Relaxed);
        if number >= run.scenarios || run.ends.is_some_and(|ends| Instant::now() >= ends) {
            break;
        }
        if room.is_worn() {
            room = Room::new()?;
        }
        let scenario = generate::scenario(run.seed.wrapping_add(number), run.transport);
        let mut judge = Judge {
            reader: &mut reader,
            kernel: &kernel,
            tally: &mut *tally,
            refusals: &mut refusals,
            patience: SETTLING,
        };
        if let Some(disagreement) = judge.play(&room, &scenario)? {
            tally.disagreements += 1;
            if !run.keep_going {
                run.stop.store(true, Ordering::Relaxed);
            }
            // Played again for the reproduction, not for the counts.
            let (mut aside, mut silent) = (Tally::default(), Refusals::new(false));
            let mut judge = Judge {
                reader: &mut reader,
                kernel: &kernel,
                tally: &mut aside,
                refusals: &mut silent,
                patience: SETTLING / 10,
            };
            let small = shrink(&mut judge, &mut room, &scenario)?;
            eprintln!("{}", account(&scenario, &disagreement, small.as_ref()));
        }
        refusals.flush()?;
    }
    Ok(())
}

/// Says what is left out on a kernel without its modules.
fn tell(equipment: Equipment) {
    if !equipment.own_tables {
        eprintln!(
            "fuzz-rules: no hash tables of a namespace's own here (Linux 6.2): those of the host alone"
        );
    }
    if !equipment.second_device {
        eprintln!(
            "fuzz-rules: no veth devices here: the second device is an index alone, and no IPv6 address is on it"
        );
    }
    if !equipment.sock_destroy {
        eprintln!(
            "fuzz-rules: no SOCK_DESTROY here (module tcp_diag): what a closed connection left is never taken away"
        );
    }
}

/// Keeps the thread on one of the processors it may use. Packets on loopback are in order for one processor only.
fn stay_on(number: usize) -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let processors: Vec<usize> =
        (0..CpuSet::count()).filter(|at| allowed.is_set(*at).unwrap_or(false)).collect();
    let mut one = CpuSet::new();
    one.set(*processors.get(number % processors.len().max(1)).context("no processor to run on")?)?;
    sched_setaffinity(this, &one).context("keeping a thread on its processor")
}

fn account(
    scenario: &Scenario,
    disagreement: &Disagreement,
    small: Option<&(Scenario, Disagreement)>,
) -> String {
    let seed = scenario.seed;
    match small {
        Some((small, at)) => format!(
            "DISAGREEMENT at seed {seed} (again: --scenarios 1 --seed {seed})\nsmallest scenario that shows one: \
             {small}at step {}: {}\n",
            at.step, at.what
        ),
        None => format!(
            "DISAGREEMENT at seed {seed}, which did not come again when the scenario was repeated\n{scenario}at step \
             {}: {}\n",
            disagreement.step, disagreement.what
        ),
    }
}
