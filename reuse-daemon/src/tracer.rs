//! The tracer: the model, kept current by the kernel's events and asked by everyone else.
//!
//! One owner, no locks: [`crate::daemon`] calls it from one task. Events go in by [`Tracer::record`], snapshots by
//! [`Tracer::reconcile`], probes by [`Tracer::observe`]; answers come out by [`Tracer::answer`], records by its
//! [`Outlet`].

mod answers;
mod checking;
mod ephemeral;
mod followers;
mod health;
mod outlet;
mod possessions;
mod refusals;
mod selections;
mod settling;
mod signalling;
mod told_signals;

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    sync::Arc,
    time::{Duration, Instant},
};

use reuse_model::{
    attempt::Attempts,
    conflict::Conflict,
    cross_check::CrossCheck,
    ephemeral::FixedPorts,
    event::{Call, Counter, Event, Moment, Snapshot},
    group::{GroupChange, Groups},
    inventory::{Change, Correction, Inventory, Limits},
    process::{Process, Processes as _},
    refusal::{Refusal, Remembered},
    report::{RecordBody, View},
    rulebook,
    signal::{Policy, Signals},
    socket::Inode,
    tally::Tally,
    test_group::{Experiment, Outcome, TestGroups},
};

pub use outlet::Outlet;

use crate::{
    clock::Clock,
    export::metrics::{self, Metrics},
    kernel::{
        attach::Kernel,
        counts::{Losses, Passed, Selections},
        decode::Decoder,
        owners::Owners,
        snapshot::Pending,
        watched::Watched,
    },
    owner::{names::Names, processes::ProcessTable},
    query::follow::{Follower, Topic},
    test_group::{Finding, Observation},
};
use checking::Checking;
use health::Received;
use possessions::{Possessions, port_of};
use refusals::Refusals;
use signalling::ReadingBudget;
use told_signals::ToldSignals;

/// Everything the daemon knows.
pub struct Tracer {
    kernel: Kernel,
    decoder: Decoder,
    selections: Selections,
    losses: Losses,
    passed: Passed,
    attempts: Attempts,
    cross_check: CrossCheck,
    inventory: Inventory,
    groups: Groups,
    fixed_ports: FixedPorts,
    tally: Tally,
    signals: Signals,
    test_groups: TestGroups,
    corrections: BTreeMap<Correction, u64>,
    processes: ProcessTable,
    names: Names,
    metrics: Metrics,
    outlet: Outlet,
    refusals: Refusals,
    told_signals: ToldSignals,
    possessions: Possessions,
    reading_budget: ReadingBudget,
    process_budget: ReadingBudget,
    watched: Watched,
    /// Sockets that are or were watched and may still be counted
    were_watched: HashSet<Inode>,
    checking: Checking,
    received: Received,
    /// Whether the configuration file was valid when it was last read
    config_loaded: bool,
    rules: rulebook::Kernel,
    started: Moment,
    /// Entries of the selection map at the last reading
    counted: u64,
    /// When that was
    counted_at: Instant,
    /// Counters of sockets that were gone at the last reading
    gone: HashSet<Counter>,
    /// Selections of sockets that went before it was known which group they were in
    unattributed: u64,
    /// Room for the changes of one event, kept to spare an allocation for each
    changes: Vec<Change>,
    joins: Vec<GroupChange>,
    /// Room for the events that are known after one came
    known: Vec<Event>,
}

/// What a tracer is made from.
pub struct Parts {
    /// The attached programs
    pub kernel: Kernel,
    /// Selection counters
    pub selections: Selections,
    /// What is counted though it is in no group
    pub watched: Watched,
    /// Loss counters
    pub losses: Losses,
    /// Counters of the cross-check
    pub passed: Passed,
    /// Who has given sockets open
    pub owners: Option<Owners>,
    /// The daemon's process id in the initial pid namespace
    pub own_pid: u32,
    /// Where records go
    pub outlet: Outlet,
    /// Who reads them
    pub event_view: View,
    /// Most series in a scrape
    pub max_series: usize,
}

impl Tracer {
    /// An empty model over an attached kernel side.
    ///
    /// # Errors
    /// The metrics cannot be described, which is a bug.
    pub fn new(parts: Parts) -> anyhow::Result<Self> {
        let Parts {
            kernel,
            selections,
            watched,
            losses,
            passed,
            owners,
            own_pid,
            outlet,
            event_view,
            max_series,
        } = parts;
        let decoder = kernel.decoder();
        let rules = kernel.rules();
        let proc = procfs(kernel.sees_all_processes());
        Ok(Self {
            kernel,
            decoder,
            selections,
            losses,
            attempts: Attempts::new(rules),
            cross_check: CrossCheck::beginning_at(passed.read().unwrap_or_default()),
            passed,
            inventory: Inventory::new(limits()),
            groups: Groups::new(),
            fixed_ports: FixedPorts::default(),
            tally: Tally::new(metrics::max_conflicts(max_series)),
            signals: Signals::default(),
            test_groups: TestGroups::default(),
            corrections: BTreeMap::new(),
            processes: ProcessTable::new(proc, [own_pid]),
            names: Names::of_this_host(event_view),
            metrics: Metrics::new(max_series)?,
            outlet,
            refusals: Refusals::default(),
            told_signals: ToldSignals::default(),
            possessions: Possessions::new(owners),
            reading_budget: ReadingBudget::default(),
            process_budget: ReadingBudget::default(),
            watched,
            were_watched: HashSet::new(),
            checking: Checking::default(),
            received: Received::default(),
            config_loaded: true,
            rules,
            started: Clock::now(),
            counted: 0,
            counted_at: Instant::now(),
            gone: HashSet::new(),
            unattributed: 0,
            changes: Vec::new(),
            joins: Vec::new(),
            known: Vec::new(),
        })
    }

    /// Judges signals by this policy from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.config_loaded = true;
        self.signals.set_policy(policy, &self.inventory, Clock::now());
    }

    /// Keeps the policy, since there is no valid one to put in its place.
    pub fn keep_policy(&mut self) {
        self.config_loaded = false;
    }

    /// Takes in one record of the ring.
    pub fn record(&mut self, bytes: &[u8]) {
        match self.decoder.event(bytes) {
            Ok(event) => self.take_in(event),
            Err(error) => {
                self.received.undecodable += 1;
                log::debug!("{error}");
            }
        }
    }

    fn event(&mut self, event: &Event) {
        self.received.count(event);
        if let Event::Call(call) = event {
            self.recognise(call);
        }
        // The close is told with what the socket was.
        self.inventory.apply(event, &mut self.processes, &mut self.changes);
        match event {
            Event::Call(call) => self.call(call),
            Event::Attempt(_) => {}
            Event::Close { at, .. } => self.closed(*at),
            Event::Exit { pid, .. } => self.processes.forget(*pid),
            Event::Fork { .. }
            | Event::Exec { .. }
            | Event::Touch(_)
            | Event::Sent { .. }
            | Event::Took { .. } => {}
        }
        self.note_event(event);
        self.regroup(event.at());
    }

    fn call(&mut self, call: &Call) {
        let caller = &call.caller;
        let process = self.processes.caller(caller);
        if process.own {
            // The hooks count whoever binds.
            self.cross_check.told(call);
            return;
        }
        if let Some(socket) = &call.socket {
            self.names.inhabit(socket.netns, &process);
        }
        self.tally.call(call);
        self.cross_check.told(call);
        let conflict = self.conflict(call, &process).map(Arc::new);
        if let Some(conflict) = &conflict {
            self.tally.refusal(conflict);
            self.signals.refused(conflict, &self.inventory);
        }
        let now = Clock::now();
        self.metrics.observe_event_delay(Duration::from_nanos(now.0.saturating_sub(call.at.0)));
        match conflict {
            Some(conflict) => {
                self.outlet.refused(&conflict, now, &self.names);
                self.refusals.take_in(conflict, now, &self.names);
            }
            None if call.errno == 0 && call.socket.is_some() => {
                self.outlet.tell(call.at, &self.names, |names| RecordBody::success(call, &process, names));
            }
            None => {}
        }
    }

    /// Why a call was refused and by whom, if it was.
    fn conflict(&mut self, call: &Call, process: &Arc<Process>) -> Option<Conflict> {
        let inventory = &self.inventory;
        let remembered =
            || port_of(call).map_or_else(Remembered::default, |port| inventory.in_the_way(port, call.at));
        let refusal = Refusal::of(call, &self.rules, remembered)?;
        let possessions = self.possessions.of(call, &refusal, inventory, &mut self.processes);
        Some(Conflict::new(call.clone(), Arc::clone(process), refusal, possessions))
    }

    fn closed(&mut self, at: Moment) {
        for change in &self.changes {
            if let Change::Removed(socket) = change
                && !socket.is_own()
            {
                self.outlet.tell(at, &self.names, |names| RecordBody::close(socket, names));
            }
        }
    }

    /// Carries the changes of sockets over to the groups.
    fn carry(&mut self, at: Moment) {
        self.note_own_closes();
        for change in self.changes.drain(..) {
            if let Change::Added(socket) = &change {
                for owner in &socket.owners {
                    self.names.inhabit(socket.facts.netns, &owner.process);
                }
            }
            self.groups.apply(&change, at, &mut self.joins);
            self.fixed_ports.apply(&change);
            self.signals.note(&change, at, &self.inventory);
        }
    }

    /// Does so and tells who joined and left.
    fn regroup(&mut self, at: Moment) {
        self.carry(at);
        for change in self.joins.drain(..) {
            self.outlet.tell(at, &self.names, |names| RecordBody::group(&change, names));
        }
    }

    /// Opens a snapshot of every socket on the host; read it elsewhere, it takes a while.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn snapshot(&mut self) -> io::Result<Pending> {
        self.kernel.snapshot()
    }

    /// Takes in a snapshot. Every event up to its end must have been taken in before.
    pub fn reconcile(&mut self, snapshot: &Snapshot) {
        let first = !self.inventory.is_backfilled();
        let found = self.inventory.reconcile(snapshot, &mut self.processes);
        self.correct(found.kinds);
        self.changes.extend(found.changes);
        if first {
            // What was there first is found, not an event.
            self.carry(snapshot.ended);
            self.joins.clear();
            self.judge_found();
        } else {
            self.regroup(snapshot.ended);
            self.judge_all();
        }
    }

    fn correct(&mut self, kinds: impl IntoIterator<Item = Correction>) {
        for kind in kinds {
            *self.corrections.entry(kind).or_default() += 1;
        }
    }

    /// Whether a snapshot is worth its cost before its regular time.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.inventory.wants_rescan(Clock::now())
    }

    /// Does what is due: doubts that became corrections, sums of repeated refusals, groups that are long gone.
    pub fn tick(&mut self) {
        let now = Clock::now();
        self.inventory.forget_old(now);
        let confirmed = self.inventory.confirm(now);
        self.correct(confirmed);
        self.cross_check();
        self.groups.prune(now);
        if self.groups.has_full_queue() || self.groups.wants_reading(self.flow_memory()) {
            self.count_selections();
        }
        self.look_for_refused();
        self.judge();
        self.signals.forget_old(now);
        self.outlet.due(now, &self.names);
        self.refusals.tick(now, &self.names);
        self.told_signals.tick(now, &self.names);
    }

    /// Tells what was lost since the last time. It asks the kernel about every program: not for each tick.
    pub fn tell_losses(&mut self) {
        let lost = self.lost();
        self.outlet.losses(Clock::now(), &lost, &self.names);
    }

    /// What the test groups are, before the first probe.
    pub fn test_groups(&mut self) -> &mut TestGroups {
        &mut self.test_groups
    }

    /// Takes in what the prober saw.
    pub fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Probe(probe) => {
                if let Some(took) = probe.took {
                    self.metrics.observe_probe(probe.group, Duration::from_nanos(took));
                }
                if self.test_groups.record(probe) != Outcome::Match {
                    self.outlet.tell(probe.at, &self.names, |_| RecordBody::test_group(probe));
                }
            }
            Observation::Experiment(experiment) => {
                tell_contradictions(experiment);
                self.test_groups.record_experiment(experiment.clone());
            }
            Observation::Finding { finding, repeated } => tell_finding(finding, *repeated),
        }
    }

    /// Takes in one who wants each refusal, or each signal, as it happens.
    pub fn follow(&mut self, follower: Follower) {
        let now = Clock::now();
        match follower.topic {
            Topic::Refusals => self.refusals.follow(follower, now, &self.names),
            Topic::Signals => self.told_signals.follow(follower, &self.signals, now, &self.names),
        }
    }

    /// Tells everything that was held back, for the end.
    pub fn finish(&mut self) {
        let mut known = std::mem::take(&mut self.known);
        self.attempts.give_up(&mut known);
        self.events(known);
        self.outlet.flush(&self.names);
    }
}

fn tell_contradictions(experiment: &Experiment) {
    for step in experiment.steps.iter().filter(|step| step.contradicted > 0) {
        log::warn!(
            "test group: flows went elsewhere than the kernel's hash says: {:?} {step:?}",
            experiment.group
        );
    }
}

fn tell_finding(finding: &Finding, repeated: u64) {
    log::warn!("test group ({repeated} times): {finding:?}");
}

/// Where the processes of the initial pid namespace are found. In another namespace the kernel's pids are other processes'
/// than procfs', so nothing is looked up: names are then those that came with the event.
#[must_use]
pub fn procfs(host: bool) -> &'static str {
    if host { "/proc" } else { "/proc/0" }
}

fn limits() -> Limits {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_whitespace().map_while(|bound| bound.parse().ok());
    match (bounds.next(), bounds.next()) {
        (Some(first), Some(last)) => Limits { ephemeral_ports: first..=last, ..Limits::default() },
        _ => Limits::default(),
    }
}
