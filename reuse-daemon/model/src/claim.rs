//! What is said of SO_REUSEADDR and SO_REUSEPORT, and what a kernel makes of it.
//!
//! A claim is a sentence; a verdict is about the sentence as worded here. [`Claim::documented`] is what is known of a
//! kernel, [`Verdict`] what was seen when it was tried.

mod chance;
mod documented;
mod report;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    chance::agrees,
    documented::is_known,
    report::{Arrival, CheckReport, ClaimReport, Comparison, Waiting},
};

/// A sentence about socket options that a kernel can be held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "`says` has the sentence of each")]
pub enum Claim {
    SameAddressRefused,
    DistinctPortsCoexist,
    DistinctAddressesCoexist,
    WildcardConflictsWithSpecific,
    WildcardWithReuseaddrBound,
    WildcardWithReuseaddrListening,
    WildcardWithReuseaddrUdp,
    TimeWaitBlocksBind,
    TimeWaitReuseaddrNewOnly,
    TimeWaitReuseaddrBoth,
    TimeWaitDuration,
    TimeWaitTcpOnly,
    ReuseaddrOnlyAtBind,
    ReuseaddrExistingFlagsIgnored,
    ReuseportAnyNumber,
    ReuseportAllMustSet,
    ReuseportSameUid,
    ReuseportEvenDistribution,
    ReuseportFourTupleHash,
    ReuseportSticky,
    ReuseportStickyAfterJoin,
    ReuseportStickyAfterLeave,
    UdpReuseaddrRespectsUid,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is so
    Holds,
    /// It is so in the plain case, and not in others that were tried too
    HoldsWithConditions,
    /// It is not so
    DoesNotHold,
    /// It could not be tried, or was not asked for
    NotTried,
}

impl Claim {
    /// Every claim, in the order in which people read them.
    pub const ALL: [Self; 23] = [
        Self::SameAddressRefused,
        Self::DistinctPortsCoexist,
        Self::DistinctAddressesCoexist,
        Self::WildcardConflictsWithSpecific,
        Self::WildcardWithReuseaddrBound,
        Self::WildcardWithReuseaddrListening,
        Self::WildcardWithReuseaddrUdp,
        Self::TimeWaitBlocksBind,
        Self::TimeWaitReuseaddrNewOnly,
        Self::TimeWaitReuseaddrBoth,
        Self::TimeWaitDuration,
        Self::TimeWaitTcpOnly,
        Self::ReuseaddrOnlyAtBind,
        Self::ReuseaddrExistingFlagsIgnored,
        Self::ReuseportAnyNumber,
        Self::ReuseportAllMustSet,
        Self::ReuseportSameUid,
        Self::ReuseportEvenDistribution,
        Self::ReuseportFourTupleHash,
        Self::ReuseportSticky,
        Self::ReuseportStickyAfterJoin,
        Self::ReuseportStickyAfterLeave,
        Self::UdpReuseaddrRespectsUid,
    ];

    /// Its name in commands, metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SameAddressRefused => "same_address_refused",
            Self::DistinctPortsCoexist => "distinct_ports_coexist",
            Self::DistinctAddressesCoexist => "distinct_addresses_coexist",
            Self::WildcardConflictsWithSpecific => "wildcard_conflicts_with_specific",
            Self::WildcardWithReuseaddrBound => "wildcard_with_reuseaddr_bound",
            Self::WildcardWithReuseaddrListening => "wildcard_with_reuseaddr_listening",
            Self::WildcardWithReuseaddrUdp => "wildcard_with_reuseaddr_udp",
            Self::TimeWaitBlocksBind => "time_wait_blocks_bind",
            Self::TimeWaitReuseaddrNewOnly => "time_wait_reuseaddr_new_only",
            Self::TimeWaitReuseaddrBoth => "time_wait_reuseaddr_both",
            Self::TimeWaitDuration => "time_wait_duration",
            Self::TimeWaitTcpOnly => "time_wait_tcp_only",
            Self::ReuseaddrOnlyAtBind => "reuseaddr_only_at_bind",
            Self::ReuseaddrExistingFlagsIgnored => "reuseaddr_existing_flags_ignored",
            Self::ReuseportAnyNumber => "reuseport_any_number",
            Self::ReuseportAllMustSet => "reuseport_all_must_set",
            Self::ReuseportSameUid => "reuseport_same_uid",
            Self::ReuseportEvenDistribution => "reuseport_even_distribution",
            Self::ReuseportFourTupleHash => "reuseport_four_tuple_hash",
            Self::ReuseportSticky => "reuseport_sticky",
            Self::ReuseportStickyAfterJoin => "reuseport_sticky_after_join",
            Self::ReuseportStickyAfterLeave => "reuseport_sticky_after_leave",
            Self::UdpReuseaddrRespectsUid => "udp_reuseaddr_respects_uid",
        }
    }

    /// The sentence.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::SameAddressRefused => {
                "with no option set two sockets cannot bind the same address and port"
            }
            Self::DistinctPortsCoexist => "one address with two ports is fine: 127.0.0.1:80 and 127.0.0.1:81",
            Self::DistinctAddressesCoexist => {
                "one port on two addresses is fine: 127.0.0.1:80 and 127.0.0.2:80"
            }
            Self::WildcardConflictsWithSpecific => {
                "with no option set 0.0.0.0:80 and 127.0.0.1:80 exclude each other"
            }
            Self::WildcardWithReuseaddrBound => {
                "with SO_REUSEADDR 0.0.0.0:80 and 127.0.0.1:80 are fine: TCP, neither listens"
            }
            Self::WildcardWithReuseaddrListening => {
                "with SO_REUSEADDR 0.0.0.0:80 and 127.0.0.1:80 are fine: TCP, once one listens"
            }
            Self::WildcardWithReuseaddrUdp => "with SO_REUSEADDR 0.0.0.0:80 and 127.0.0.1:80 are fine: UDP",
            Self::TimeWaitBlocksBind => "a socket in TIME_WAIT keeps its address and port from every other",
            Self::TimeWaitReuseaddrNewOnly => {
                "SO_REUSEADDR on the new socket alone lets it bind over TIME_WAIT"
            }
            Self::TimeWaitReuseaddrBoth => {
                "SO_REUSEADDR on both sockets lets the new one bind over TIME_WAIT"
            }
            Self::TimeWaitDuration => "TIME_WAIT lasts between seconds and minutes",
            Self::TimeWaitTcpOnly => "TIME_WAIT is TCP's alone: a closed UDP port is free at once",
            Self::ReuseaddrOnlyAtBind => "SO_REUSEADDR matters only during bind()",
            Self::ReuseaddrExistingFlagsIgnored => {
                "SO_REUSEADDR is asked of the new socket; existing ones are not looked at"
            }
            Self::ReuseportAnyNumber => {
                "with SO_REUSEPORT any number of sockets bind the same address and port"
            }
            Self::ReuseportAllMustSet => "SO_REUSEPORT shares a port only if all prior sockets set it",
            Self::ReuseportSameUid => "SO_REUSEPORT shares a port only among sockets of one user",
            Self::ReuseportEvenDistribution => "SO_REUSEPORT spreads flows evenly over the sockets",
            Self::ReuseportFourTupleHash => {
                "SO_REUSEPORT picks the socket by a hash of both addresses and ports"
            }
            Self::ReuseportSticky => "one client's datagrams reach one receiver: membership unchanged",
            Self::ReuseportStickyAfterJoin => {
                "one client's datagrams reach one receiver as long as it exists: after a join"
            }
            Self::ReuseportStickyAfterLeave => {
                "one client's datagrams reach one receiver as long as it exists: after a leave"
            }
            Self::UdpReuseaddrRespectsUid => "SO_REUSEADDR on UDP is as safe between users as SO_REUSEPORT",
        }
    }

    /// Whether trying it takes a minute, so that it is tried only where that is asked for.
    #[must_use]
    pub fn is_slow(self) -> bool {
        self == Self::TimeWaitDuration
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|claim| claim.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|claim| claim.as_str()).collect();
            format!("no such claim; there are {}", names.join(", "))
        })
    }
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [Self::Holds, Self::HoldsWithConditions, Self::DoesNotHold, Self::NotTried];

    /// Its name in metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::HoldsWithConditions => "holds_with_conditions",
            Self::DoesNotHold => "does_not_hold",
            Self::NotTried => "not_tried",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_has_one_name_everywhere() {
        for claim in Claim::ALL {
            assert_eq!(claim.as_str().parse(), Ok(claim));
            assert_eq!(serde_json::to_string(&claim).unwrap(), format!("\"{claim}\""));
        }
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_string(&verdict).unwrap(), format!("\"{}\"", verdict.as_str()));
        }
        let error = "reuseport".parse::<Claim>().unwrap_err();
        assert!(error.contains("reuseport_sticky, "), "{error}");
    }
}
