//! What the operator expects, and how grave it is to them.
//!
//! Nothing is hidden by what an expectation does not speak of: it fits a signal only when every party fits.

mod criteria;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Case, Severity};
use crate::socket::NetNs;

pub use criteria::Criteria;

/// The operator's word on signals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is no signal, since it is meant to be so
    pub expected: Vec<Criteria>,
    /// How grave what fits is; the first that fits decides
    pub severities: Vec<(Criteria, Severity)>,
}

impl Policy {
    /// How grave a signal is, whose [`Case::severity`] is that of its kind; `None` where it is expected and so is none.
    /// `netns_name`: what a network namespace is called, as [`crate::report::Context::netns_name`] has it.
    #[must_use]
    pub fn judge(&self, case: &Case, netns_name: &dyn Fn(NetNs) -> Arc<str>) -> Option<Severity> {
        if self.expected.iter().any(|expected| expected.fit(case, netns_name)) {
            return None;
        }
        let told = self.severities.iter().find(|(criteria, _)| criteria.fit(case, netns_name));
        Some(told.map_or(case.severity, |(_, severity)| *severity))
    }
}
