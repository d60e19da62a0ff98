//! What the operator expects, and how grave it is to them.

use super::{Case, Severity};

/// The operator's word on signals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {}

impl Policy {
    /// How grave a signal is; `None` where it is expected and so is none.
    #[must_use]
    pub fn judge(&self, case: &Case) -> Option<Severity> {
        Some(case.severity)
    }
}
