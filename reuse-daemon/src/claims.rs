//! Claims about socket options, tried live on the running kernel.
//!
//! Everything happens in a network namespace that the calling process makes for itself (`namespace`): nobody's port is
//! taken, and it goes with the process. Users are threads with a file-system uid of their own (`user`), since that is
//! what a socket takes as its uid. A trial says what it saw as it goes (`finding`); the verdict follows from that.

mod comparison;
mod exclusion;
mod finding;
mod group;
mod namespace;
mod parking;
mod reuseaddr;
mod selection;
mod sharing;
mod socket;
mod sticky;
mod tcp_flows;
mod time_wait;
mod user;

use reuse_model::{
    claim::{CheckReport, Claim, ClaimReport, Verdict, is_known},
    rulebook::{Kernel, Release},
};

use self::finding::Finding;
pub use self::{
    comparison::compare,
    namespace::{NamespaceError, Private},
};

/// How much is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Also what takes a minute, and groups as large as the kernel allows
    pub slow: bool,
}

/// Which kernel the verdicts are compared with.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Its name for people
    pub name: String,
    /// Its version, where the name has one
    pub release: Option<Release>,
    /// How it decides
    pub rules: Kernel,
}

/// What came of trying.
#[derive(Clone, Debug)]
pub struct Tried {
    /// For people and programs
    pub report: CheckReport,
    /// Claims that are not as documented
    pub deviations: usize,
    /// Claims that were to be tried and could not be
    pub untried: usize,
}

/// Tries each of `claims`, in the order given.
pub fn try_all(namespace: &Private, claims: &[Claim], extent: Extent, expectation: &Expectation) -> Tried {
    let (mut deviations, mut untried) = (0, 0);
    let mut one = |claim: Claim| {
        let left_out = claim.is_slow() && !extent.slow;
        let tried = if left_out { None } else { Some(attempt(namespace, claim, extent)) };
        let finding = match tried {
            None => {
                return report(claim, Verdict::NotTried, true, vec!["takes a minute: --slow".to_owned()]);
            }
            Some(Err(error)) => {
                untried += 1;
                return report(claim, Verdict::NotTried, true, vec![format!("{error:#}")]);
            }
            Some(Ok(finding)) => finding,
        };
        let verdict = finding.verdict();
        let as_documented = verdict == claim.documented(&expectation.rules) && finding.is_complete();
        deviations += usize::from(!as_documented);
        let known = expectation.release.is_some_and(is_known);
        let mut evidence = finding.into_evidence();
        if !known {
            evidence.push(
                "not known of this kernel version: it is compared with the nearest known one".to_owned(),
            );
        }
        report(claim, verdict, known && as_documented, evidence)
    };
    let claims = claims.iter().map(|claim| one(*claim)).collect();
    let report = CheckReport { schema: 1, kernel: expectation.name.clone(), claims, comparison: None };
    Tried { report, deviations, untried }
}

fn report(claim: Claim, verdict: Verdict, expected_for_kernel: bool, evidence: Vec<String>) -> ClaimReport {
    ClaimReport { claim, says: claim.says().to_owned(), verdict, expected_for_kernel, evidence }
}

fn attempt(namespace: &Private, claim: Claim, extent: Extent) -> anyhow::Result<Finding> {
    match claim {
        Claim::SameAddressRefused => exclusion::same_address(namespace),
        Claim::DistinctPortsCoexist => exclusion::distinct_ports(namespace),
        Claim::DistinctAddressesCoexist => exclusion::distinct_addresses(namespace),
        Claim::WildcardConflictsWithSpecific => exclusion::wildcard(namespace),
        Claim::WildcardWithReuseaddrBound => exclusion::wildcard_bound(namespace),
        Claim::WildcardWithReuseaddrListening => exclusion::wildcard_listening(namespace),
        Claim::WildcardWithReuseaddrUdp => exclusion::wildcard_udp(namespace),
        Claim::TimeWaitBlocksBind => time_wait::blocks(namespace),
        Claim::TimeWaitReuseaddrNewOnly => time_wait::reuseaddr_new_only(namespace),
        Claim::TimeWaitReuseaddrBoth => time_wait::reuseaddr_both(namespace),
        Claim::TimeWaitDuration => time_wait::duration(namespace),
        Claim::TimeWaitTcpOnly => time_wait::tcp_only(namespace),
        Claim::ReuseaddrOnlyAtBind => reuseaddr::only_at_bind(namespace),
        Claim::ReuseaddrExistingFlagsIgnored => reuseaddr::existing_flags(namespace),
        Claim::ReuseportAnyNumber => sharing::any_number(namespace, extent),
        Claim::ReuseportAllMustSet => sharing::all_must_set(namespace),
        Claim::ReuseportSameUid => sharing::same_uid(namespace),
        Claim::ReuseportEvenDistribution => selection::even(namespace),
        Claim::ReuseportFourTupleHash => selection::four_tuple(namespace),
        Claim::ReuseportSticky => sticky::unchanged(namespace),
        Claim::ReuseportStickyAfterJoin => sticky::after_join(namespace),
        Claim::ReuseportStickyAfterLeave => sticky::after_leave(namespace),
        Claim::UdpReuseaddrRespectsUid => sharing::udp_reuseaddr(namespace),
    }
}
