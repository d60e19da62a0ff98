//! Whether the daemon's counters say what its events say, and whether it knows of anything that neither does.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    attempts::Tally,
    daemon::Daemon,
    deadline::{self, PROMPT},
    metrics::Metrics,
};

/// Waits until the counters say what the events say, of the whole host since the daemon's start: binds and listens by
/// family, protocol and result, and implicit binds by protocol, phase and errno. Gives the events that this test was told.
///
/// # Errors
/// When they do not, within the usual time.
///
/// # Panics
/// When an event was lost, or a bind found that no event told of.
pub fn settle(daemon: &Daemon) -> Result<Vec<Arc<Value>>> {
    let mut last = "the events never stood still".to_owned();
    let settled = deadline::until("counters that agree with the events", PROMPT, || {
        let events = daemon.events_since_start()?;
        let metrics = daemon.metrics()?;
        // A scrape between two readings that are the same belongs to both.
        if daemon.events_since_start()?.len() != events.len() {
            return Ok(None);
        }
        let told = Told::by_events(events.iter().map(AsRef::as_ref));
        let counted = Told::by_metrics(&metrics);
        last = format!("told:\n{told:?}\ncounted:\n{counted:?}");
        Ok((told == counted).then_some(metrics))
    });
    assert_nothing_missed(&settled.with_context(|| last)?);
    daemon.events()
}

/// Checks that no event was lost, and that the cross-check found no bind without an event.
///
/// # Panics
/// When one was.
#[track_caller]
pub fn assert_nothing_missed(metrics: &Metrics) {
    let lost: Vec<_> = metrics
        .series("reuse_daemon_events_lost_total", &[])
        // Runs that the kernel skipped are those of wake-ups that interrupted each other; a bind that was not told for such
        // a reason is missing from the counts.
        .filter(|(labels, lost)| {
            *lost != 0.0 && labels.get("stage").is_none_or(|stage| stage != "program_skipped")
        })
        .map(|(labels, lost)| format!("{labels:?}: {lost}"))
        .collect();
    assert!(lost.is_empty(), "events lost: {lost:?}");
    let unseen = metrics.sum("reuse_daemon_reconciliation_corrections_total", &[("kind", "unseen_bind")]);
    assert_eq!(unseen, Some(0.0), "binds without an event");
}

/// Calls by what they came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Binds asked for
    pub binds: Tally,
    /// Listens
    pub listens: Tally,
    /// Implicit binds that were refused, under protocol, phase and errno
    pub implicit: BTreeMap<[String; 3], u64>,
}

impl Told {
    /// What these events tell.
    #[must_use]
    pub fn by_events<'a>(events: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut told = Self::default();
        for event in events.into_iter().filter(|event| event["contender"].is_object()) {
            let of = |key: &str| event["contender"][key].as_str().unwrap_or_default();
            let text = |key: &str| event[key].as_str().unwrap_or_default();
            let count = event["repeated"].as_u64().unwrap_or(1);
            // listen() alone binds a stream socket; what sends a datagram binds the other kind.
            let tally = match text("phase") {
                "bind" => Some(&mut told.binds),
                "listen" => Some(&mut told.listens),
                "autobind" if of("protocol") != "udp" => Some(&mut told.listens),
                _ => None,
            };
            if let Some(tally) = tally {
                tally.add(of("family"), of("protocol"), text("result"), count);
            }
            if matches!(text("phase"), "autobind" | "connect") {
                let key = [of("protocol"), text("phase"), text("result")].map(str::to_owned);
                *told.implicit.entry(key).or_default() += count;
            }
        }
        told.binds = told.binds.internet_only();
        told.listens = told.listens.internet_only();
        told
    }

    /// What a scrape counts.
    #[must_use]
    pub fn by_metrics(metrics: &Metrics) -> Self {
        let tally = |name| Tally::of_scrape(metrics, name).internet_only();
        let name = "reuse_autobind_failures_total";
        let mut implicit = BTreeMap::new();
        for (labels, _) in metrics.series(name, &[]) {
            let key = ["protocol", "phase", "errno"].map(|key| labels.get(key).cloned().unwrap_or_default());
            let filter = [("protocol", key[0].as_str()), ("phase", &key[1]), ("errno", &key[2])];
            let count = metrics.count(name, &filter);
            if count > 0 {
                implicit.insert(key, count);
            }
        }
        Self {
            binds: tally("reuse_bind_attempts_total"),
            listens: tally("reuse_listen_attempts_total"),
            implicit,
        }
    }
}
