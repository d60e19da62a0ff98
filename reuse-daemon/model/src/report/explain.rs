//! What `explain` answers: one object for each socket that would be bound.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::HolderReport;
use crate::{
    endpoint::{Family, Transport},
    event::Phase,
    refusal::{Confidence, Rule},
};

/// Body of `explain --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainReport {
    /// Version of the JSON
    pub schema: u32,
    /// One for each question
    pub answers: Vec<AnswerReport>,
}

/// What was asked, with everything that was left open filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionReport {
    /// The words of the command line
    pub asked: String,
    /// Protocol
    pub protocol: Transport,
    /// Family of the socket
    pub family: Family,
    /// Address
    pub address: IpAddr,
    /// Port
    pub port: u16,
    /// `SO_REUSEADDR`
    pub reuseaddr: bool,
    /// `SO_REUSEPORT`
    pub reuseport: bool,
    /// `IPV6_V6ONLY`, by the option or by the host's default
    pub v6only: bool,
    /// Device of the socket, or the interface of a link-local address
    pub device: Option<Arc<str>>,
    /// Uid of the socket
    pub uid: u32,
    /// Whether ports below `ip_unprivileged_port_start` may be bound
    pub may_bind_privileged: bool,
    /// Whether it would listen, too
    pub listen: bool,
    /// Inode number of the network namespace
    pub netns: u32,
    /// Its name
    pub netns_name: Arc<str>,
}

/// How it would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The kernel would let it
    Success,
    /// It would not
    Refused,
    /// That depends on what could not be read
    Unknown,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerReport {
    /// What was asked
    pub question: QuestionReport,
    /// How it would end
    pub outcome: Outcome,
    /// The call that would be refused, else the last one asked about
    pub phase: Phase,
    /// Name of the errno
    pub errno: Option<&'static str>,
    /// Why; null too where options of the holders decide that could not be read
    pub rule: Option<Rule>,
    /// How sure that is
    pub confidence: Confidence,
    /// It would succeed only by what the kernel remembers of the port's earlier binds
    pub allowed_by_bucket_cache: bool,
    /// It would succeed only because the first overlapping socket in the kernel's order allows it
    pub allowed_by_scan_order: bool,
    /// Refused: those in the way. Success: those that would refuse were they asked alone
    pub holders: Vec<HolderReport>,
    /// UDP: inode number of the holder that decides, its cookie where it has none
    pub decided_by: Option<u64>,
    /// There are more sockets on the port than were read
    pub truncated: bool,
    /// What to do; null on success
    pub remedy: Option<String>,
    /// What SO_REUSEADDR would change; only where no option was asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_reuseaddr: Option<Alternative>,
}

/// How the same question would end with another option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Alternative {
    /// How it would end
    pub outcome: Outcome,
    /// Why
    pub rule: Option<Rule>,
}
