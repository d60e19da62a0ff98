//! How long the acts play, and what one came to.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::namespace::Namespace;

/// What the daemon calls a network namespace that nobody named.
const NAMELESS: &str = "other";
/// Between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// The time that all acts share, and where they play.
#[derive(Debug)]
pub struct Stage {
    end: Instant,
    called_off: AtomicBool,
    /// Names of the acts' network namespaces
    named: Mutex<BTreeSet<String>>,
    /// Inode numbers of those without a name
    nameless: Mutex<BTreeSet<u64>>,
}

impl Stage {
    /// Open for so long from now.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            end: Instant::now() + length,
            called_off: AtomicBool::new(false),
            named: Mutex::default(),
            nameless: Mutex::default(),
        }
    }

    /// Makes a network namespace for an act.
    pub(super) fn namespace(&self, purpose: &str) -> Result<Namespace> {
        let namespace = Namespace::new(&format!("quiet-{purpose}"))?;
        self.named().insert(namespace.name().to_owned());
        Ok(namespace)
    }

    /// Takes in that an act plays in this network namespace as well, which has no name.
    pub(super) fn enclose(&self, namespace: u64) {
        self.nameless().insert(namespace);
    }

    /// Whether a network namespace is, or was, one of the acts'. The kernel gives the number of one that is gone to the next one,
    /// so that a name decides where there is one.
    pub(super) fn encloses(&self, name: &str, number: u64) -> bool {
        if name == NAMELESS { self.nameless().contains(&number) } else { self.named().contains(name) }
    }

    fn named(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nameless(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.nameless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every act should come to its end.
    pub(super) fn is_over(&self) -> bool {
        self.called_off.load(Relaxed) || Instant::now() >= self.end
    }

    /// Lets some time go by, less if it is over before.
    pub(super) fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_over() && Instant::now() < end {
            thread::sleep(LOOK.min(time));
        }
    }

    /// Ends it before its time.
    pub(super) fn call_off(&self) {
        self.called_off.store(true, Relaxed);
    }

    /// What ends it before its time unless it is kept open.
    pub(super) fn curtain(&self) -> Curtain<'_> {
        Curtain { stage: self, falls: true }
    }
}

/// Falls with an act that does not come to its end.
#[derive(Debug)]
pub(super) struct Curtain<'a> {
    stage: &'a Stage,
    falls: bool,
}

impl Curtain<'_> {
    pub(super) fn keep_open(mut self) {
        self.falls = false;
    }
}

impl Drop for Curtain<'_> {
    fn drop(&mut self) {
        if self.falls {
            self.stage.call_off();
        }
    }
}

/// What an act came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Played {
    /// It did this.
    Done(String),
    /// It could not play: why.
    LeftOut(String),
}

impl Played {
    /// Whether it played at all.
    #[must_use]
    pub fn was_played(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(what) => f.write_str(what),
            Self::LeftOut(why) => write!(f, "left out: {why}"),
        }
    }
}
