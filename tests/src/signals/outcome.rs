//! What a daemon makes of what was staged: its events, its list and its metrics, of one signal or of many side by side.

use std::{collections::BTreeMap, slice, sync::Arc, time::Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    Expected, SOON, Stage,
    expected::parties,
    stage::{in_short, is_at},
};
use crate::{
    daemon::Daemon,
    deadline::{self, PROMPT},
    events::assert_fields,
    http,
    metrics::Metrics,
};

/// The metrics that signals have.
const ACTIVE: &str = "reuse_signal_active";
const TOTAL: &str = "reuse_signals_total";

impl Stage<'_> {
    /// Waits for the begin of a signal, which was staged just now, and checks all that event, list and metrics say of it.
    ///
    /// # Errors
    /// When it is not told in time.
    ///
    /// # Panics
    /// When something else is told of it.
    #[track_caller]
    pub fn raised(&self, expected: &Expected) -> Result<Value> {
        first(self.all_raised(Instant::now(), slice::from_ref(expected))?)
    }

    /// The same of signals that were staged side by side since `begun`: each is told within [`SOON`] of that.
    ///
    /// # Errors
    /// When one is not told in time.
    ///
    /// # Panics
    /// When something else is told of one.
    #[track_caller]
    pub fn all_raised(&self, begun: Instant, expected: &[Expected]) -> Result<Vec<Value>> {
        let told = self.all_told(begun, expected)?;
        for (one, event) in expected.iter().zip(&told) {
            assert_fields(event, &json!({ "netns": self.netns, "found": false, "until": null }));
            assert!(self.names.iter().any(|name| event["netns_name"] == *name), "{:?}: {event}", self.names);
            one.assert_told(event)?;
        }
        let listed = self.shown("are listed, active and counted", |list, metrics| {
            let listed: Vec<&Value> =
                expected.iter().map(|one| self.lasting(list, one)).collect::<Result<_>>()?;
            for one in expected {
                self.is_active(metrics, one, true)?;
            }
            is_counted(metrics, list)?;
            Ok(listed.into_iter().cloned().collect::<Vec<_>>())
        })?;
        for ((one, event), listed) in expected.iter().zip(&told).zip(&listed) {
            assert_fields(listed, &json!({ "until": null, "found": false }));
            assert!(is_at(&listed["since"], &event["since"]), "{listed}");
            one.assert_told(listed)?;
        }
        Ok(told)
    }

    /// Waits for the begin of a signal that has not ended.
    ///
    /// # Errors
    /// When it is not told in time.
    pub fn told(&self, expected: &Expected) -> Result<Value> {
        first(self.all_told(Instant::now(), slice::from_ref(expected))?)
    }

    fn all_told(&self, begun: Instant, expected: &[Expected]) -> Result<Vec<Value>> {
        self.all_events("raised", begun, expected, |at, event, events| {
            let has_ended = || {
                let mut ends = events.iter().filter(|end| !end["until"].is_null() && expected[at].is(end));
                ends.any(|end| is_at(&end["since"], &event["since"]))
            };
            event["until"].is_null() && !has_ended()
        })
    }

    /// What the list says of a signal that lasts.
    ///
    /// # Errors
    /// When it is not there in time.
    pub fn listed(&self, expected: &Expected) -> Result<Value> {
        deadline::until(&format!("{} is listed", expected.signal()), PROMPT, || {
            Ok(self.list()?.into_iter().find(|signal| expected.is(signal) && signal["until"].is_null()))
        })
    }

    /// Waits until the list says that the party in this role was given so much since the signal began.
    ///
    /// # Errors
    /// When it says otherwise.
    pub fn selections(&self, expected: &Expected, role: &str, wanted: u64) -> Result<()> {
        self.all_selections(role, &[(expected, wanted)])
    }

    /// The same of several signals.
    ///
    /// # Errors
    /// When the list says otherwise of one.
    pub fn all_selections(&self, role: &str, wanted: &[(&Expected, u64)]) -> Result<()> {
        let mut differing = String::new();
        let outcome = deadline::until("the selections are told", PROMPT, || {
            let list = self.daemon.api("signals")?;
            differing.clear();
            for (expected, wanted) in wanted {
                let listed = self.lasting(&list, expected)?;
                let party = parties(listed).iter().find(|party| party["role"] == role);
                let told = party.map_or(&Value::Null, |party| &party["selections"]);
                if told != wanted {
                    differing
                        .push_str(&format!("\nthe {role} got {told}, wanted {wanted}: {}", in_short(listed)));
                }
            }
            Ok(differing.is_empty().then_some(()))
        });
        outcome.with_context(|| differing)
    }

    /// Waits for the end of a signal, which was brought about just now.
    ///
    /// # Errors
    /// When it is not told in time.
    ///
    /// # Panics
    /// When the end says otherwise than the begin.
    #[track_caller]
    pub fn resolved(&self, expected: &Expected, began: &Value) -> Result<Value> {
        first(self.all_resolved(Instant::now(), slice::from_ref(expected), slice::from_ref(began))?)
    }

    /// The same of signals that were ended side by side since `begun`.
    ///
    /// # Errors
    /// When one is not told in time.
    ///
    /// # Panics
    /// When an end says otherwise than its begin.
    #[track_caller]
    pub fn all_resolved(&self, begun: Instant, expected: &[Expected], began: &[Value]) -> Result<Vec<Value>> {
        let ended = self.all_events("resolved", begun, expected, |at, event, _| {
            is_at(&event["since"], &began[at]["since"]) && !event["until"].is_null()
        })?;
        for (ended, began) in ended.iter().zip(began) {
            for key in ["severity", "protocol", "address", "port", "netns", "found"] {
                assert_eq!(ended[key], began[key], "{key} of {ended}");
            }
            let of_both = [&ended["since"], &ended["until"]].map(|time| time.as_str().unwrap_or_default());
            assert!(of_both[0] < of_both[1], "it lasted: {ended}");
        }
        self.shown("are listed as resolved, and active no more", |list, metrics| {
            for ((one, ended), began) in expected.iter().zip(&ended).zip(began) {
                let mut here = self.listed_in(list);
                let listed = here.find(|signal| one.is(signal) && is_at(&signal["since"], &began["since"]));
                let listed = listed.with_context(|| format!("not listed: {}", in_short(ended)))?;
                if !is_at(&listed["until"], &ended["until"]) {
                    bail!("listed as {}, told as {}", in_short(listed), in_short(ended));
                }
                self.is_active(metrics, one, false)?;
            }
            Ok(())
        })?;
        Ok(ended)
    }

    /// Waits until the metric says whether a signal lasts.
    ///
    /// # Errors
    /// When it says otherwise.
    pub fn active(&self, expected: &Expected, lasts: bool) -> Result<()> {
        let mut last = Ok(());
        let outcome = deadline::until(ACTIVE, PROMPT, || {
            last = self.is_active(&scraped(self.daemon)?, expected, lasts);
            Ok(last.is_ok().then_some(()))
        });
        outcome.and(last)
    }

    /// For each of these signals the first event here that `accept` picks of it, within [`SOON`] of `begun`.
    fn all_events(
        &self,
        what: &str,
        begun: Instant,
        expected: &[Expected],
        accept: impl Fn(usize, &Value, &[Arc<Value>]) -> bool,
    ) -> Result<Vec<Value>> {
        let mut found = vec![None; expected.len()];
        let outcome = deadline::until(&format!("all are {what}"), PROMPT, || {
            let events = self.events()?;
            for (at, found) in found.iter_mut().enumerate().filter(|(_, found)| found.is_none()) {
                let mut of_it = events.iter().filter(|event| expected[at].is(event));
                *found = of_it.find(|event| accept(at, event, &events)).cloned();
            }
            Ok(found.iter().all(Option::is_some).then_some(()))
        });
        let outcome = outcome.and_then(|()| deadline::ensure_within(what, SOON, begun.elapsed()));
        outcome.with_context(|| {
            let missing = expected.iter().zip(&found).filter(|(_, found)| found.is_none());
            let missing: Vec<_> = missing.map(|(one, _)| format!("{one:?}")).collect();
            let told = self.events().unwrap_or_default();
            let told: Vec<_> = told.iter().map(|event| in_short(event)).collect();
            format!("not {what}:\n{}\ntold in this namespace:\n{}", missing.join("\n"), told.join("\n"))
        })?;
        Ok(found.into_iter().flatten().map(|event| Value::clone(&event)).collect())
    }

    /// Waits until list and metrics show what `check` looks for.
    fn shown<T>(&self, what: &str, check: impl Fn(&Value, &Metrics) -> Result<T>) -> Result<T> {
        shown(self.daemon, what, check)
    }

    /// What a list has of this namespace.
    fn listed_in<'l>(&self, list: &'l Value) -> impl Iterator<Item = &'l Value> {
        let all = list["signals"].as_array().into_iter().flatten();
        all.filter(|signal| self.is_listed_here(signal))
    }

    /// What a list has of a signal that lasts.
    fn lasting<'l>(&self, list: &'l Value, expected: &Expected) -> Result<&'l Value> {
        let lasts = |signal: &&Value| signal["until"].is_null() && expected.is(signal);
        self.listed_in(list).find(lasts).with_context(|| format!("not listed: {expected:?}"))
    }

    /// Whether the metric says of a signal that it lasts, or that it does not.
    fn is_active(&self, metrics: &Metrics, expected: &Expected, lasts: bool) -> Result<()> {
        let (address, port) =
            (expected.address()?.as_str().unwrap_or_default(), expected.port()?.to_string());
        let labels = [
            ("signal", expected.signal()),
            ("severity", expected.severity()),
            ("protocol", expected.protocol()?),
            ("address", address),
            ("port", &port),
        ];
        let is_here = |name: &String| self.names.contains(name);
        let mut here =
            metrics.series(ACTIVE, &labels).filter(|(series, _)| series.get("netns").is_some_and(is_here));
        let value = here.next().map(|(_, value)| value);
        if value != lasts.then_some(1.0) {
            bail!("{ACTIVE} of {labels:?}: {value:?}");
        }
        Ok(())
    }
}

fn first(all: Vec<Value>) -> Result<Value> {
    all.into_iter().next().context("no signal")
}

/// What the metrics say of signals, and nothing else of a scrape.
fn scraped(daemon: &Daemon) -> Result<Metrics> {
    let answer = http::get(daemon.web(), "/metrics")?;
    if answer.status != 200 {
        bail!("/metrics: {} {}", answer.status, answer.body);
    }
    Metrics::parse_only(&[ACTIVE, TOTAL], &answer.body).context("/metrics")
}

/// Asks for the list, then for the metrics, until they show what `check` looks for.
fn shown<T>(daemon: &Daemon, what: &str, check: impl Fn(&Value, &Metrics) -> Result<T>) -> Result<T> {
    let mut last = None;
    let outcome = deadline::until(what, PROMPT, || {
        let list = daemon.api("signals")?;
        match check(&list, &scraped(daemon)?) {
            Ok(seen) => Ok(Some(seen)),
            Err(error) => {
                last = Some(error);
                Ok(None)
            }
        }
    });
    outcome.with_context(|| format!("{last:?}"))
}

/// Checks that the counters say how many signals of each name, severity and protocol began: as many as are listed.
///
/// # Errors
/// When they say otherwise.
pub fn counted(daemon: &Daemon) -> Result<()> {
    shown(daemon, "the counters are of what is listed", |list, metrics| is_counted(metrics, list))
}

/// Whether the counters are what is listed.
fn is_counted(metrics: &Metrics, list: &Value) -> Result<()> {
    const LABELS: [&str; 3] = ["signal", "severity", "protocol"];
    // Where some are not listed any more there is nothing to compare with.
    if list["dropped"] != 0 {
        return Ok(());
    }
    let mut listed = BTreeMap::<_, u64>::new();
    let began = list["signals"].as_array().into_iter().flatten().filter(|signal| signal["found"] == false);
    for signal in began {
        *listed.entry(LABELS.map(|label| signal[label].as_str().unwrap_or_default())).or_default() += 1;
    }
    let mut differing = Vec::new();
    for (series, counted) in metrics.series(TOTAL, &[]) {
        let key = LABELS.map(|label| series.get(label).map(String::as_str).unwrap_or_default());
        let listed = listed.remove(&key).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        if counted != listed as f64 {
            differing.push(format!("{key:?}: counted {counted}, listed {listed}"));
        }
    }
    differing.extend(listed.iter().map(|(key, listed)| format!("{key:?}: not counted, listed {listed}")));
    if !differing.is_empty() {
        bail!("{TOTAL}: {}", differing.join("; "));
    }
    Ok(())
}
