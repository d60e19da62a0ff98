//! Where a hijack is staged: a network namespace of its own, watched by a daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Double, Expected, SOON, TAKER, VICTIM,
    expected::{inodes, parties},
};
use crate::{
    actor::Actor,
    daemon::Daemon,
    deadline::{self, PROMPT},
    events::assert_fields,
    metrics::{Labels, Metrics},
    namespace::{self, Namespace},
};

/// The port of what is staged to know that all before was judged.
const AFTERWARDS: u16 = 7;

/// A namespace in which a test stages something.
#[derive(Debug)]
pub struct Stage<'a> {
    daemon: &'a Daemon,
    namespace: Namespace,
    netns: u64,
    /// What the daemon may call it
    names: Vec<String>,
    /// Events of the daemon before: the kernel gives the number of a namespace that is gone to the next one
    before: usize,
    /// When those signals began that were listed before
    listed_before: BTreeSet<String>,
}

impl<'a> Stage<'a> {
    /// Makes the namespace.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn new(daemon: &'a Daemon, purpose: &str) -> Result<Self> {
        let before = daemon.events()?.len();
        let mut stage = Self::of(daemon, Namespace::new(purpose)?)?;
        let listed = stage.list()?.into_iter();
        stage.listed_before =
            listed.map(|signal| signal["since"].as_str().unwrap_or_default().to_owned()).collect();
        stage.before = before;
        Ok(stage)
    }

    /// What is in the namespace already was there before the daemon.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn of(daemon: &'a Daemon, namespace: Namespace) -> Result<Self> {
        let netns = namespace.run(namespace::inode)?;
        let names = vec![namespace.name().to_owned()];
        Ok(Self { daemon, namespace, netns, names, before: 0, listed_before: BTreeSet::new() })
    }

    /// The daemon may call the namespace otherwise as well: by a container that is in it.
    #[must_use]
    pub fn also_called(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Starts a process of this user in the namespace.
    ///
    /// # Errors
    /// As [`Actor::start`], and when it does not become that user.
    pub fn actor(&self, comm: &str, uid: u32) -> Result<Actor> {
        actor_in(&self.namespace, Command::new("python3"), comm, uid)
    }

    /// The same in another program.
    ///
    /// # Errors
    /// As [`Stage::actor`].
    pub fn actor_of(&self, program: &Double, comm: &str, uid: u32) -> Result<Actor> {
        actor_in(&self.namespace, program.command(), comm, uid)
    }

    /// Waits for the begin of a signal, which was staged just now, and checks all that event, list and metrics say of it.
    ///
    /// # Errors
    /// When it is not told in time.
    ///
    /// # Panics
    /// When something else is told of it.
    #[track_caller]
    pub fn raised(&self, expected: &Expected) -> Result<Value> {
        let event = self.told(expected)?;
        assert_fields(&event, &serde_json::json!({ "netns": self.netns, "found": false, "until": null }));
        assert!(self.names.iter().any(|name| event["netns_name"] == *name), "{:?}: {event}", self.names);
        expected.assert_told(&event)?;
        let listed = self.listed(expected)?;
        assert_fields(&listed, &serde_json::json!({ "until": null, "found": false }));
        assert!(is_at(&listed["since"], &event["since"]), "{listed}");
        expected.assert_told(&listed)?;
        self.active(expected, true)?;
        counted(self.daemon)?;
        Ok(event)
    }

    /// Waits for the begin of a signal that has not ended.
    ///
    /// # Errors
    /// When it is not told in time.
    pub fn told(&self, expected: &Expected) -> Result<Value> {
        let ended = |events: &[Arc<Value>], begin: &Value| {
            let mut ends = events.iter().filter(|event| !event["until"].is_null() && expected.is(event));
            ends.any(|end| is_at(&end["since"], &begin["since"]))
        };
        self.event(&format!("{} is raised", expected.signal()), |event, events| {
            expected.is(event) && event["until"].is_null() && !ended(events, event)
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
        let mut last = Value::Null;
        let outcome = deadline::until("the selections are told", PROMPT, || {
            let listed = self.listed(expected)?;
            let party = parties(&listed).iter().find(|party| party["role"] == role);
            last = party.map(|party| party["selections"].clone()).unwrap_or_default();
            Ok((last == wanted).then_some(()))
        });
        outcome.with_context(|| format!("selections of the {role}: {last}, wanted {wanted}"))
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
        let ended = self.event(&format!("{} is resolved", expected.signal()), |event, _| {
            expected.is(event) && is_at(&event["since"], &began["since"]) && !event["until"].is_null()
        })?;
        for key in ["severity", "protocol", "address", "port", "netns", "found"] {
            assert_eq!(ended[key], began[key], "{key} of {ended}");
        }
        let of_both = [&ended["since"], &ended["until"]].map(|time| time.as_str().unwrap_or_default());
        assert!(of_both[0] < of_both[1], "it lasted: {ended}");
        deadline::until(&format!("{} is listed as resolved", expected.signal()), PROMPT, || {
            let list = self.list()?;
            let listed =
                list.iter().find(|signal| expected.is(signal) && is_at(&signal["since"], &began["since"]));
            Ok(listed.filter(|listed| is_at(&listed["until"], &ended["until"])).map(drop))
        })?;
        self.active(expected, false)?;
        Ok(ended)
    }

    /// Checks that nothing was raised here but these signals: also by what was done a moment ago.
    ///
    /// # Errors
    /// When the daemon does not answer.
    ///
    /// # Panics
    /// When something else was raised.
    #[track_caller]
    pub fn assert_only(&self, expected: &[&Value]) -> Result<()> {
        self.judged()?;
        // Of a service that raises many some are not told as events; all are listed.
        let listed = self.list()?;
        let raised: Vec<_> = listed.iter().filter(|signal| signal["found"] == false).collect();
        let are_one = |one: &Value, other: &Value| {
            one["signal"] == other["signal"]
                && is_at(&one["since"], &other["since"])
                && inodes(one) == inodes(other)
        };
        let unexpected = raised.iter().filter(|signal| !expected.iter().any(|known| are_one(known, signal)));
        let unexpected: Vec<_> = unexpected.map(|signal| in_short(signal)).collect();
        assert!(unexpected.is_empty(), "raised beside what was staged:\n{}", unexpected.join("\n"));
        let raised: Vec<_> = raised.iter().map(|signal| in_short(signal)).collect();
        assert_eq!(raised.len(), expected.len(), "each is raised once:\n{}", raised.join("\n"));
        Ok(())
    }

    /// The begins of signals that were told here.
    ///
    /// # Errors
    /// When the daemon's events cannot be read.
    pub fn begins(&self) -> Result<Vec<Arc<Value>>> {
        let events = self.daemon.events()?.into_iter().skip(self.before);
        Ok(events.filter(|event| self.is_here(event) && event["until"].is_null()).collect())
    }

    /// Returns once all that happened here before was judged: what happens after it is.
    ///
    /// # Errors
    /// When that is not.
    fn judged(&self) -> Result<()> {
        let mut one = self.actor("rt-afterwards", VICTIM)?;
        let mut other = self.actor("rt-afterwards", TAKER)?;
        let bind = format!("s = bound('127.0.0.1', {AFTERWARDS}, RA, kind=SOCK_DGRAM)");
        // A port that needs no privilege in this namespace.
        self.namespace.run(|| {
            let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
            std::fs::write(path, "0").context(path)
        })?;
        one.run(&bind)?;
        other.run(&bind)?;
        let inode = other.facts("s")?["inode"].clone();
        self.daemon.wait_event("what was staged afterwards", |event| {
            event["type"] == "signal"
                && event["netns"] == self.netns
                && event["port"] == AFTERWARDS
                && parties(event).iter().any(|party| party["inode"] == inode)
        })?;
        Ok(())
    }

    /// The first event of a signal here that `accept` picks, within [`SOON`].
    fn event(&self, what: &str, accept: impl Fn(&Value, &[Arc<Value>]) -> bool) -> Result<Value> {
        let begun = Instant::now();
        let found = deadline::until(what, PROMPT, || {
            let events = self.daemon.events()?;
            let found =
                events.iter().skip(self.before).find(|event| self.is_here(event) && accept(event, &events));
            Ok(found.map(|event| Value::clone(event)))
        });
        let found = found.and_then(|found| {
            deadline::ensure_within(what, SOON, begun.elapsed())?;
            Ok(found)
        });
        found.with_context(|| {
            let told = self.daemon.events().unwrap_or_default();
            let told: Vec<_> =
                told.iter().filter(|event| self.is_here(event)).map(|event| in_short(event)).collect();
            format!("told in this namespace:\n{}", told.join("\n"))
        })
    }

    fn is_here(&self, event: &Value) -> bool {
        event["type"] == "signal" && event["netns"] == self.netns && event["port"] != AFTERWARDS
    }

    /// What the list says of this namespace.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn list(&self) -> Result<Vec<Value>> {
        let mut all = self.daemon.signals()?;
        let is_older =
            |signal: &Value| signal["since"].as_str().is_some_and(|since| self.listed_before.contains(since));
        all.retain(|signal| {
            signal["netns"] == self.netns && signal["port"] != AFTERWARDS && !is_older(signal)
        });
        Ok(all)
    }

    /// Waits until the metric says whether a signal lasts.
    ///
    /// # Errors
    /// When it says otherwise.
    pub fn active(&self, expected: &Expected, lasts: bool) -> Result<()> {
        let (address, port) =
            (expected.address()?.as_str().unwrap_or_default(), expected.port()?.to_string());
        let labels = [
            ("signal", expected.signal()),
            ("severity", expected.severity()),
            ("protocol", expected.protocol()?),
            ("address", address),
            ("port", &port),
        ];
        let mut last = None;
        let outcome = deadline::until("reuse_signal_active says so", PROMPT, || {
            let metrics = self.daemon.metrics()?;
            let mut here = metrics.series("reuse_signal_active", &labels);
            let is_here = |series: &Labels| series.get("netns").is_some_and(|name| self.names.contains(name));
            last = here.find_map(|(series, value)| is_here(series).then_some(value));
            Ok((last == lasts.then_some(1.0)).then_some(()))
        });
        outcome.with_context(|| format!("{labels:?}: {last:?}"))
    }
}

/// Whether two times of one day are one: each is told by a clock that is read again now and then.
fn is_at(one: &Value, other: &Value) -> bool {
    const APART: u64 = 100;
    let microseconds = |time: &Value| {
        let time = time.as_str()?.split_once('T')?.1.trim_end_matches('Z');
        let fields = time.split([':', '.']).map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
        let [hours, minutes, seconds, microseconds] = fields[..] else { return None };
        Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + microseconds)
    };
    let both = microseconds(one).zip(microseconds(other));
    both.is_some_and(|(one, other)| one.abs_diff(other) <= APART)
}

/// A signal in a line.
fn in_short(signal: &Value) -> String {
    let Value::Object(fields) = signal else { return String::new() };
    let field = |name: &str| fields.get(name).map(Value::to_string).unwrap_or_default();
    let of_interest = ["signal", "severity", "since", "until", "found", "seen"];
    let mut line = of_interest.map(field).join(" ");
    for party in parties(signal) {
        line.push_str(&format!("; {} {}", party["role"], party["inode"]));
    }
    line
}

/// Starts a process of this user in a namespace.
///
/// # Errors
/// As [`Actor::start`], and when it does not become that user.
pub fn actor_in(namespace: &Namespace, python: Command, comm: &str, uid: u32) -> Result<Actor> {
    let mut actor = namespace.run(|| Actor::start_in(python, comm))?;
    if uid != 0 {
        actor.run(&format!("os.setresuid({uid}, {uid}, {uid})"))?;
    }
    Ok(actor)
}

/// Checks that the counters say how many signals of each name, severity and protocol began: as many as are listed.
///
/// # Errors
/// When they say otherwise.
pub fn counted(daemon: &Daemon) -> Result<()> {
    let mut differing = Vec::new();
    let outcome = deadline::until("reuse_signals_total counts what is listed", PROMPT, || {
        let metrics = daemon.metrics()?;
        let list = daemon.api("signals")?;
        differing = compare(&metrics, &list);
        // Where some are not listed any more there is nothing to compare with.
        Ok((differing.is_empty() || list["dropped"] != 0).then_some(()))
    });
    outcome.with_context(|| format!("{differing:?}"))
}

/// Where the counters are not what is listed.
fn compare(metrics: &Metrics, list: &Value) -> Vec<String> {
    const LABELS: [&str; 3] = ["signal", "severity", "protocol"];
    let mut listed = BTreeMap::<_, u64>::new();
    let began = list["signals"].as_array().into_iter().flatten().filter(|signal| signal["found"] == false);
    for signal in began {
        *listed.entry(LABELS.map(|label| signal[label].as_str().unwrap_or_default())).or_default() += 1;
    }
    let mut differing = Vec::new();
    for (series, counted) in metrics.series("reuse_signals_total", &[]) {
        let key = LABELS.map(|label| series.get(label).map(String::as_str).unwrap_or_default());
        let listed = listed.remove(&key).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        if counted != listed as f64 {
            differing.push(format!("{key:?}: counted {counted}, listed {listed}"));
        }
    }
    differing.extend(listed.iter().map(|(key, listed)| format!("{key:?}: not counted, listed {listed}")));
    differing
}
