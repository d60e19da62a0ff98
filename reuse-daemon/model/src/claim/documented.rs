//! What is known of kernels: the verdict on each claim, and which kernels were read or tried for it.

use super::{Claim, Verdict};
use crate::rulebook::{Kernel, Release};

/// Oldest and newest series of which it is known: the sources were read up to 6.19; 6.1, 6.12, 6.18 and 7.3 were tried.
const KNOWN: std::ops::RangeInclusive<(u16, u16)> = (6, 1)..=(7, 3);

/// Whether what is documented was read in, or seen on, kernels of this series or of both an older and a newer one.
#[must_use]
pub fn is_known(release: Release) -> bool {
    KNOWN.contains(&(release.major, release.minor))
}

impl Claim {
    /// The verdict on a kernel that behaves as documented.
    ///
    /// One difference between kernels shows here: those that look for holders by address but do not find TIME_WAIT there
    /// (net/ipv4/inet_connection_sock.c before 936a192f9740; 6.1 before it was ported back) let anybody bind over it.
    #[must_use]
    pub const fn documented(self, kernel: &Kernel) -> Verdict {
        let (n, c, h) = (Verdict::DoesNotHold, Verdict::HoldsWithConditions, Verdict::Holds);
        match self {
            Self::SameAddressRefused
            | Self::DistinctPortsCoexist
            | Self::DistinctAddressesCoexist
            | Self::WildcardConflictsWithSpecific
            | Self::WildcardWithReuseaddrBound
            | Self::WildcardWithReuseaddrUdp
            | Self::TimeWaitReuseaddrBoth
            | Self::TimeWaitTcpOnly
            | Self::ReuseportSticky => h,
            Self::TimeWaitBlocksBind if kernel.finds_time_wait() => c,
            Self::TimeWaitReuseaddrNewOnly if !kernel.finds_time_wait() => h,
            Self::TimeWaitDuration
            | Self::ReuseportAnyNumber
            | Self::ReuseportAllMustSet
            | Self::ReuseportSameUid
            | Self::ReuseportEvenDistribution
            | Self::ReuseportFourTupleHash => c,
            Self::WildcardWithReuseaddrListening
            | Self::TimeWaitBlocksBind
            | Self::TimeWaitReuseaddrNewOnly
            | Self::ReuseaddrOnlyAtBind
            | Self::ReuseaddrExistingFlagsIgnored
            | Self::ReuseportStickyAfterJoin
            | Self::ReuseportStickyAfterLeave
            | Self::UdpReuseaddrRespectsUid => n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulebook::Features;

    fn kernel(release: &str, deathrow: bool) -> Kernel {
        let features = Features { inet_bind2_bucket: true, deathrow, ..Features::default() };
        Kernel::new(Release::parse(release).unwrap(), features)
    }

    #[test]
    fn kernels_that_were_neither_read_nor_tried_are_not_known() {
        for (release, known) in [
            ("5.15.0", false),
            ("6.1.0", true),
            ("6.18.44", true),
            ("6.19.30", true),
            ("7.3.4", true),
            ("7.4", false),
        ] {
            assert_eq!(is_known(Release::parse(release).unwrap()), known, "{release}");
        }
    }

    #[test]
    fn time_wait_blocks_where_the_kernel_finds_it() {
        let (finds, misses) = (kernel("6.18.0", true), kernel("6.1.0", false));
        let on = |kernel| {
            [Claim::TimeWaitBlocksBind, Claim::TimeWaitReuseaddrNewOnly].map(|claim| claim.documented(kernel))
        };
        assert_eq!(on(&finds), [Verdict::HoldsWithConditions, Verdict::DoesNotHold]);
        assert_eq!(on(&misses), [Verdict::DoesNotHold, Verdict::Holds]);
    }

    #[test]
    fn the_page_has_each_claim_with_its_verdict() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/claims.md");
        let page = std::fs::read_to_string(path).unwrap();
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), Claim::ALL.len());
        for (claim, row) in Claim::ALL.into_iter().zip(rows) {
            let verdict = claim.documented(&kernel("6.18.0", true)).as_str();
            let expected = format!("| `{claim}` | {} | `{verdict}` |", claim.says());
            assert!(row.starts_with(&expected), "docs/claims.md has\n{row}\nwhich should begin\n{expected}");
        }
    }
}
