//! Where a hijack is staged: a network namespace of its own, watched by a daemon.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Double, TAKER, VICTIM,
    expected::{inodes, parties},
};
use crate::{
    actor::{Actor, Template},
    daemon::Daemon,
    deadline::{self, PROMPT},
    namespace::{self, Namespace},
};

/// The ports of what is staged to know that all before was judged, one for each time.
const AFTERWARDS: RangeInclusive<u16> = 1..=40;

/// A namespace in which a test stages something.
#[derive(Debug)]
pub struct Stage<'a> {
    pub(super) daemon: &'a Daemon,
    namespace: Namespace,
    pub(super) netns: u64,
    /// What the daemon may call it
    pub(super) names: Vec<String>,
    /// Events of the daemon before: the kernel gives the number of a namespace that is gone to the next one
    before: usize,
    /// When those signals began that were listed before
    listed_before: BTreeSet<String>,
    /// Who stages what shows that all before was judged
    afterwards: Mutex<Option<([Actor; 2], RangeInclusive<u16>)>>,
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
        let (listed_before, afterwards) = (BTreeSet::new(), Mutex::default());
        Ok(Self { daemon, namespace, netns, names, before: 0, listed_before, afterwards })
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
        // Ends with this process, whose pipe it reads.
        static PYTHON: Mutex<Option<Template>> = Mutex::new(None);
        as_user(self.copied(&PYTHON, || Command::new("python3"), comm)?, uid)
    }

    /// The same in another program.
    ///
    /// # Errors
    /// As [`Stage::actor`].
    pub fn actor_of(&self, program: &Double, comm: &str, uid: u32) -> Result<Actor> {
        as_user(self.copied(program.template(), || program.command(), comm)?, uid)
    }

    fn copied(
        &self,
        template: &Mutex<Option<Template>>,
        python: impl FnOnce() -> Command,
        comm: &str,
    ) -> Result<Actor> {
        let mut template = template.lock().unwrap_or_else(PoisonError::into_inner);
        let template = match &mut *template {
            Some(template) => template,
            none => none.insert(Template::start(python())?),
        };
        template.actor(comm, &self.namespace.path())
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
        Ok(self.events()?.into_iter().filter(|event| event["until"].is_null()).collect())
    }

    /// Returns once all that happened here before was judged: what happens after it is.
    ///
    /// # Errors
    /// When that is not.
    fn judged(&self) -> Result<()> {
        let mut afterwards = self.afterwards.lock().unwrap_or_else(PoisonError::into_inner);
        let ([one, other], ports) = match &mut *afterwards {
            Some(afterwards) => afterwards,
            none => {
                // Ports that need no privilege in this namespace.
                self.namespace.run(|| {
                    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
                    std::fs::write(path, "0").context(path)
                })?;
                let actor = |uid| self.actor("rt-afterwards", uid);
                none.insert(([actor(VICTIM)?, actor(TAKER)?], AFTERWARDS))
            }
        };
        let port = ports.next().context("it was known as often as there are ports for")?;
        let bind = format!("s = bound('127.0.0.1', {port}, RA, kind=SOCK_DGRAM)");
        one.run(&bind)?;
        other.run(&bind)?;
        let inode = other.facts("s")?["inode"].clone();
        deadline::until("what was staged afterwards", PROMPT, || {
            let is_it = |event: &Value| {
                event["type"] == "signal"
                    && event["netns"] == self.netns
                    && event["port"] == port
                    && parties(event).iter().any(|party| party["inode"] == inode)
            };
            let events = self.daemon.events()?;
            Ok(events.iter().skip(self.before).any(|event| is_it(event)).then_some(()))
        })?;
        one.run("s.close()")?;
        other.run("s.close()")?;
        Ok(())
    }

    /// The events of signals that were told here.
    pub(super) fn events(&self) -> Result<Vec<Arc<Value>>> {
        let events = self.daemon.events()?.into_iter().skip(self.before);
        Ok(events.filter(|event| self.is_here(event)).collect())
    }

    fn is_here(&self, event: &Value) -> bool {
        event["type"] == "signal" && event["netns"] == self.netns && !is_afterwards(event)
    }

    /// What the list says of this namespace.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn list(&self) -> Result<Vec<Value>> {
        let mut all = self.daemon.signals()?;
        all.retain(|signal| self.is_listed_here(signal));
        Ok(all)
    }

    /// Whether something in the daemon's list is of this namespace.
    pub(super) fn is_listed_here(&self, signal: &Value) -> bool {
        let is_older = || signal["since"].as_str().is_some_and(|since| self.listed_before.contains(since));
        signal["netns"] == self.netns && !is_afterwards(signal) && !is_older()
    }
}

/// Whether a signal is about a port of [`AFTERWARDS`].
fn is_afterwards(signal: &Value) -> bool {
    let port = signal["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    port.is_some_and(|port| AFTERWARDS.contains(&port))
}

/// Whether two times of one day are one: each is told by a clock that is read again now and then.
pub(super) fn is_at(one: &Value, other: &Value) -> bool {
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
pub(super) fn in_short(signal: &Value) -> String {
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
    as_user(namespace.run(|| Actor::start_in(python, comm))?, uid)
}

fn as_user(mut actor: Actor, uid: u32) -> Result<Actor> {
    if uid != 0 {
        actor.run(&format!("os.setresuid({uid}, {uid}, {uid})"))?;
    }
    Ok(actor)
}
