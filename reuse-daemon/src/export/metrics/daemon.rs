//! The daemon itself: what it sees and does not see, what it lost, what it costs.

use std::collections::BTreeMap;

use prometheus::{Histogram, HistogramOpts, core::Collector, process_collector::ProcessCollector};
use reuse_model::{inventory::Correction, tally::Tally};

use super::{SECONDS_BUCKETS, family::Family, health::KernelHealth, page::Page};
use crate::clock::Clock;

const BUILD_INFO: Family = Family::gauge(
    "reuse_daemon_build_info",
    "Always 1; the labels say what was built.",
    &["version", "arch"],
);
const TIER_ACTIVE: Family = Family::gauge(
    "reuse_daemon_tier_active",
    "1 if this tier of the attach plan works, else 0.",
    &["tier", "mechanism"],
);
const BLIND_SPOT: Family = Family::gauge(
    "reuse_daemon_blind_spot",
    "1 while sockets that get a port in this way are not seen, else 0.",
    &["what"],
);
const ATTACHED: Family = Family::gauge(
    "reuse_daemon_ebpf_program_attached",
    "1 if this program of the plan is attached, else 0.",
    &["bpf_program", "hook"],
);
const RUN_SECONDS: Family = Family::counter(
    "reuse_daemon_ebpf_program_run_seconds_total",
    "Time spent in this program; only while kernel.bpf_stats_enabled is 1.",
    &["bpf_program"],
);
const RUNS: Family = Family::counter(
    "reuse_daemon_ebpf_program_runs_total",
    "Runs of this program; only while kernel.bpf_stats_enabled is 1.",
    &["bpf_program"],
);
const RECEIVED: Family =
    Family::counter("reuse_daemon_events_received_total", "Records that came from the kernel.", &["type"]);
const LOST: Family = Family::counter(
    "reuse_daemon_events_lost_total",
    "Records that should have come or gone out and did not, by the stage that lost them.",
    &["stage"],
);
const MAP_ENTRIES: Family =
    Family::gauge("reuse_daemon_map_entries", "Entries of this map (bytes of a ring buffer).", &["map"]);
const MAP_CAPACITY: Family = Family::gauge(
    "reuse_daemon_map_capacity",
    "Most entries of this map (bytes of a ring buffer).",
    &["map"],
);
const SERIES_OVERFLOW: Family = Family::counter(
    "reuse_daemon_series_overflow_total",
    "Label values folded to other since --metrics.max-series was reached; all group families fold together.",
    &["family"],
);
const EXPLAINED: Family = Family::counter(
    "reuse_daemon_explained_total",
    "Refusals, by how well they could be explained.",
    &["result"],
);
const CORRECTIONS: Family = Family::counter(
    "reuse_daemon_reconciliation_corrections_total",
    "What a look at all sockets of the host had to put right in what the events had told.",
    &["kind"],
);
const LAST_EVENT: Family = Family::gauge(
    "reuse_daemon_last_event_timestamp_seconds",
    "When the newest record of the kernel was made, seconds since the epoch.",
    &[],
);

const CONFIG_LOADED: Family = Family::gauge(
    "reuse_daemon_config_last_reload_successful",
    "1 if the configuration file was valid when it was last read, else 0: the policy before is still in force.",
    &[],
);

/// Histogram and process metrics, which keep a state of their own.
#[derive(Debug)]
pub(super) struct DaemonFamilies {
    event_delay: Histogram,
    process: ProcessCollector,
}

impl DaemonFamilies {
    pub(super) fn new() -> prometheus::Result<Self> {
        let event_delay = Histogram::with_opts(
            HistogramOpts::new(
                "reuse_daemon_event_delay_seconds",
                "From the return of a bind or listen to its being counted.",
            )
            .buckets(SECONDS_BUCKETS.to_vec()),
        )?;
        Ok(Self { event_delay, process: ProcessCollector::for_self() })
    }

    /// Takes in how long an event was under way.
    pub(super) fn observe_delay(&self, seconds: f64) {
        self.event_delay.observe(seconds);
    }

    /// Writes every family of this area but the overflow of series.
    pub(super) fn write(&self, page: &mut Page, health: &KernelHealth, clock: &Clock) {
        page.write(&BUILD_INFO, [([env!("CARGO_PKG_VERSION"), std::env::consts::ARCH], 1)]);
        let KernelHealth { tiers, blind_spots, programs, maps, received, lost, last_event } = health;
        page.write(
            &TIER_ACTIVE,
            tiers.iter().map(|tier| ([tier.tier, &*tier.mechanism], u64::from(tier.active))),
        );
        page.write(&BLIND_SPOT, blind_spots.iter().map(|spot| ([spot.what], u64::from(spot.blind))));
        page.write(&ATTACHED, programs.iter().map(|one| ([&*one.name, &*one.hook], u64::from(one.attached))));
        let run = || programs.iter().filter_map(|one| one.run.map(|run| ([&*one.name], run)));
        page.write_floats(&RUN_SECONDS, run().map(|(labels, run)| (labels, seconds(run.nanoseconds))));
        page.write(&RUNS, run().map(|(labels, run)| (labels, run.runs)));
        page.write(&RECEIVED, received.iter().map(|(kind, count)| ([*kind], *count)));
        page.write(&LOST, lost.iter().map(|(stage, count)| ([*stage], *count)));
        page.write(&MAP_ENTRIES, maps.iter().map(|map| ([map.map], map.entries)));
        page.write(&MAP_CAPACITY, maps.iter().map(|map| ([map.map], map.capacity)));
        page.write_floats(&LAST_EVENT, last_event.map(|at| ([], clock.unix_seconds(at))));
        for family in self.event_delay.collect().iter().chain(&self.process.collect()) {
            page.encode_whole(family);
        }
    }
}

/// Writes what the model knows of how well the daemon does.
pub(super) fn write_model(page: &mut Page, tally: &Tally, corrections: &BTreeMap<Correction, u64>) {
    page.write(
        &EXPLAINED,
        ["exact", "best_evidence", "unknown"].map(|result| ([result], tally.explained(result))),
    );
    page.write(
        &CORRECTIONS,
        Correction::ALL.map(|kind| ([kind.as_str()], corrections.get(&kind).copied().unwrap_or(0))),
    );
}

/// Writes whether what is configured is in force.
pub(super) fn write_config(page: &mut Page, loaded: bool) {
    page.write(&CONFIG_LOADED, [([], u64::from(loaded))]);
}

/// Writes how much was folded; last, when it is known.
pub(super) fn write_overflow(page: &mut Page, folded: [(&'static str, u64); 2]) {
    page.write(&SERIES_OVERFLOW, folded.map(|(family, count)| ([family], count)));
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
