//! What the daemon's own groups say of this kernel, so that a person can tell the kernel from the application.

use std::fmt::Write;

use reuse_model::{report::TestGroupReport, test_group::Evenness};

use super::numbers::{grouped, probability};

/// A sentence or two; `None` where there is no test group, or too few of its flows are known yet.
#[must_use]
pub fn sentence(groups: &[TestGroupReport]) -> Option<String> {
    let seen = Evenness::together(groups.iter().filter_map(|group| group.evenness).map(Evenness::from))?;
    let evidence = format!("(p {} over {} flows)", probability(seen.p_value), grouped(seen.flows));
    let mut text = match seen.even {
        true => format!(
            "This kernel spreads its test flows evenly {evidence}, so an uneven group is the application's or its \
             selector's doing."
        ),
        false => format!(
            "This kernel does not spread its test flows evenly {evidence}: an uneven group may be the kernel's doing."
        ),
    };
    let mismatches: u64 = groups.iter().map(|group| group.mismatch).sum();
    if mismatches > 0 {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            " {} of its probes went elsewhere than its hash predicts: see /api/v1/test-group.",
            grouped(mismatches)
        );
    }
    Some(text)
}
