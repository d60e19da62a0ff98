//! What the daemon knows of its own kernel side: gathered by whoever owns programs and maps, shown in the metrics
//! and in the status report.

use std::borrow::Cow;

use reuse_model::event::Moment;

/// State of the kernel side at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelHealth {
    /// Tiers of the attach plan
    pub tiers: Vec<Tier>,
    /// Ways in by which sockets get a port, and whether they are seen
    pub blind_spots: Vec<BlindSpot>,
    /// Programs of the plan
    pub programs: Vec<Program>,
    /// Maps that can fill
    pub maps: Vec<MapFill>,
    /// Records that came, by type
    pub received: Vec<(&'static str, u64)>,
    /// What should have been told and was not, by the stage that lost it; also stages that lost nothing
    pub lost: Vec<(&'static str, u64)>,
    /// Time of the newest record
    pub last_event: Option<Moment>,
}

/// One thing that the plan traces, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// What is traced
    pub tier: &'static str,
    /// By what
    pub mechanism: Cow<'static, str>,
    /// Whether it works
    pub active: bool,
    /// What to do about it where it does not
    pub remedy: Option<Cow<'static, str>>,
}

/// A way in by which a socket can get a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindSpot {
    /// `compat`, `io_uring`, ...
    pub what: &'static str,
    /// Whether it goes unseen
    pub blind: bool,
}

/// An eBPF program of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Its name
    pub name: Cow<'static, str>,
    /// What it is attached to
    pub hook: Cow<'static, str>,
    /// Whether it is attached
    pub attached: bool,
    /// What it cost so far; `None` while `kernel.bpf_stats_enabled` is 0
    pub run: Option<RunStats>,
}

/// What a program cost since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunStats {
    /// Nanoseconds in all
    pub nanoseconds: u64,
    /// How often it ran
    pub runs: u64,
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Its name
    pub map: &'static str,
    /// Entries, or bytes of a ring buffer
    pub entries: u64,
    /// Most it holds, in the same unit
    pub capacity: u64,
}
