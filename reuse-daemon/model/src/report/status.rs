//! The daemon's own state: what it sees, what it cannot see, what it lost.

use std::collections::BTreeMap;

use serde::Serialize;

/// Body of `/api/v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusReport {
    /// Version of the JSON
    pub schema: u32,
    /// Version of the daemon
    pub version: String,
    /// Seconds since it started
    pub uptime_seconds: f64,
    /// Whether all planned programs are attached and the sockets that were there first are known
    pub ready: bool,
    /// What is traced, and how
    pub tiers: Vec<ActiveTier>,
    /// Programs in the kernel
    pub programs: Vec<AttachedProgram>,
    /// Ways a port can be taken or refused that are not seen
    pub blind_spots: Vec<BlindSpot>,
    /// What was lost
    pub losses: Vec<Loss>,
    /// Sockets known
    pub sockets: usize,
    /// SO_REUSEPORT groups with a member
    pub groups: usize,
    /// Corrections that snapshots made, by kind
    pub corrections: BTreeMap<&'static str, u64>,
}

/// One tier of the attach plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActiveTier {
    /// What it sees
    pub tier: String,
    /// By which kernel mechanism, null where it is not active
    pub mechanism: Option<String>,
    /// Why it is not active and what would make it so
    pub remedy: Option<String>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttachedProgram {
    /// Its name
    pub bpf_program: String,
    /// What it is attached to
    pub hook: String,
    /// Whether it is
    pub attached: bool,
}

/// A way that is, or would be, unseen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlindSpot {
    /// Which way
    pub what: String,
    /// Whether it is not seen
    pub blind: bool,
}

/// Losses at one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// Where
    pub stage: String,
    /// How many events
    pub lost: u64,
}
