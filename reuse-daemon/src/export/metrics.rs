//! Prometheus' text format: the only module that knows the `prometheus` crate.
//!
//! Values are the model's own, read at each scrape; nothing is counted twice. Only histograms, which the model has
//! no use for, are kept here. Each area owns its families and its label values.

mod budget;
mod calls;
mod claims;
mod daemon;
mod ephemeral;
mod family;
mod groups;
mod health;
mod page;
mod signals;
mod sockets;
mod test_group;

use std::{collections::BTreeMap, time::Duration};

use reuse_model::{
    claim::CheckReport,
    group::Groups,
    inventory::{Correction, Inventory},
    report::Context,
    tally::Tally,
    test_group::{TestGroup, TestGroups},
};

pub use calls::max_conflicts;
pub use ephemeral::EphemeralListeners;
pub use health::{BlindSpot, KernelHealth, MapFill, Program, RunStats, Tier};
pub use signals::SignalsSeen;

use crate::clock::Clock;

/// Upper bounds of every histogram of durations: from what the kernel needs for a datagram over loopback to what no
/// one would call immediate any more, dense around the promised 3 ms.
const SECONDS_BUCKETS: [f64; 11] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1.0];

/// Series kept free for what grows after groups were given theirs: errnos and rules not seen yet.
const RESERVE: usize = 100;

/// What one scrape reads.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// Calls
    pub tally: &'a Tally,
    /// Sockets
    pub inventory: &'a Inventory,
    /// Listeners whose port the kernel may give away
    pub ephemeral_listeners: &'a EphemeralListeners,
    /// Groups
    pub groups: &'a Groups,
    /// Signals
    pub signals: SignalsSeen<'a>,
    /// Whether selections are counted
    pub selections_counted: bool,
    /// The test group
    pub test_groups: &'a TestGroups,
    /// Confirmed corrections by kind
    pub corrections: &'a BTreeMap<Correction, u64>,
    /// The kernel side
    pub health: &'a KernelHealth,
    /// Whether the configuration file was valid when it was last read
    pub config_loaded: bool,
    /// Wall time
    pub clock: &'a Clock,
    /// Names of network namespaces
    pub context: &'a dyn Context,
}

/// Every family the daemon exports.
#[derive(Debug)]
pub struct Metrics {
    groups: groups::GroupFamilies,
    test_group: test_group::TestGroupFamilies,
    daemon: daemon::DaemonFamilies,
    claims: claims::ClaimFamily,
    max_series: usize,
    /// Length of the last scrape: the next is about as long
    last_length: usize,
}

impl Metrics {
    /// Nothing counted yet; at most `max_series` series.
    ///
    /// # Errors
    /// When the `prometheus` crate refuses a histogram's description, which is fixed.
    pub fn new(max_series: usize) -> prometheus::Result<Self> {
        Ok(Self {
            groups: groups::GroupFamilies::default(),
            test_group: test_group::TestGroupFamilies::new()?,
            daemon: daemon::DaemonFamilies::new()?,
            claims: claims::ClaimFamily::default(),
            max_series,
            last_length: 0,
        })
    }

    /// Takes in how long a bind or listen was under way from its return to being counted.
    pub fn observe_event_delay(&self, delay: Duration) {
        self.daemon.observe_delay(delay.as_secs_f64());
    }

    /// Takes in how long a probe took from sending to receipt.
    pub fn observe_probe(&self, group: TestGroup, took: Duration) {
        self.test_group.observe(group, took.as_secs_f64());
    }

    /// Takes in what became of each claim about socket options.
    pub fn take_in_claims(&mut self, report: &CheckReport) {
        self.claims.take_in(report);
    }

    /// One scrape.
    pub fn scrape(&mut self, observed: &Observed<'_>) -> String {
        let Observed {
            tally,
            inventory,
            ephemeral_listeners,
            groups,
            signals,
            selections_counted,
            test_groups,
            corrections,
            health,
            config_loaded,
            clock,
            context,
        } = *observed;
        let mut page = page::Page::with_capacity(self.last_length + self.last_length / 8);
        calls::write(&mut page, tally, clock);
        signals::write(&mut page, signals, context);
        sockets::write(&mut page, inventory.census());
        ephemeral::write(&mut page, ephemeral_listeners);
        self.test_group.write(&mut page, test_groups);
        self.claims.write(&mut page);
        self.daemon.write(&mut page, health, clock);
        daemon::write_model(&mut page, tally, corrections);
        daemon::write_config(&mut page, config_loaded);
        // What is bounded by itself comes first; groups get the rest.
        let left = self.max_series.saturating_sub(page.series() + RESERVE);
        self.groups.write(&mut page, groups, selections_counted, context, left);
        let folded = [
            (calls::CONFLICTS.name, tally.conflicts().folded()),
            (groups::MEMBERS.name, self.groups.overflow()),
        ];
        daemon::write_overflow(&mut page, folded);
        let text = page.into_text();
        self.last_length = text.len();
        text
    }
}

#[cfg(test)]
mod tests;
