//! What the daemon said of it all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Stage;
use crate::daemon::Daemon;

/// The signals of a run, and what was lost.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// How many of `info`, by what they say and where
    pub infos: BTreeMap<(String, String), u64>,
    /// Every other one
    pub grave: Vec<Value>,
    /// How many were about what others do on this host
    pub elsewhere: u64,
    /// Events lost by stage, where there were any
    pub lost: Vec<(String, f64)>,
}

impl Heard {
    /// Everything said so far of what happens on the stage: by events, of which one that ends is told twice, and by the list of
    /// what lasts. What has ended was told; the list has it under the name that its namespace has now, which may be none.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn of(daemon: &Daemon, stage: &Stage) -> Result<Self> {
        let mut heard = Self::default();
        let events = daemon.events()?;
        let told = events.iter().filter(|event| event["type"] == "signal").map(|event| (**event).clone());
        let mut listed = daemon.api("signals")?;
        let mut listed = listed["signals"].as_array_mut().context("no list of signals")?.split_off(0);
        listed.retain(|signal| signal["until"].is_null());
        let mut seen = BTreeSet::new();
        for signal in told.chain(listed) {
            // Also once more where it has become graver.
            let begin = ["signal", "severity", "since", "netns", "protocol", "address", "port"]
                .map(|key| signal[key].to_string());
            if !seen.insert(begin) {
                continue;
            }
            let (name, number) = (signal["netns_name"].as_str(), signal["netns"].as_u64());
            if !name.zip(number).is_some_and(|(name, number)| stage.encloses(name, number)) {
                heard.elsewhere += 1;
                continue;
            }
            if signal["severity"] == "info" {
                let text = |key: &str| signal[key].as_str().unwrap_or_default().to_owned();
                let place = format!("{} {} port {}", text("netns_name"), text("protocol"), signal["port"]);
                *heard.infos.entry((text("signal"), place)).or_default() += 1;
            } else {
                heard.grave.push(signal);
            }
        }
        let metrics = daemon.metrics()?;
        let lost = metrics.series("reuse_daemon_events_lost_total", &[]).filter(|(_, lost)| *lost > 0.0);
        heard.lost =
            lost.map(|(labels, lost)| (labels.get("stage").cloned().unwrap_or_default(), lost)).collect();
        Ok(heard)
    }

    /// Whether this signal was told as `info`.
    #[must_use]
    pub fn has_info(&self, signal: &str) -> bool {
        self.infos.keys().any(|(told, _)| told == signal)
    }

    /// Whether nothing was said but what is good to know, and nothing was lost.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.grave.is_empty() && self.lost.is_empty()
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((signal, place), count) in &self.infos {
            writeln!(f, "info: {count} x {signal} at {place}")?;
        }
        if self.elsewhere > 0 {
            writeln!(f, "{} signals about others than these servers", self.elsewhere)?;
        }
        for signal in &self.grave {
            writeln!(f, "NOISE: {signal}")?;
        }
        for (stage, lost) in &self.lost {
            writeln!(f, "LOST: {lost} at {stage}")?;
        }
        Ok(())
    }
}
