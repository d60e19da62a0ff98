//! Hijacks staged by processes of users of their own, and what the daemon makes of them.

mod double;
mod expected;
mod outcome;
pub mod pairs;
mod stage;
mod traffic;

use std::time::Duration;

pub use self::{
    double::Double,
    expected::{Expected, Party},
    outcome::counted,
    stage::{Stage, actor_in},
    traffic::Traffic,
};

/// How soon a signal is raised after what it is about begins, and resolved after that ends.
pub const SOON: Duration = Duration::from_secs(1);

/// The user whose traffic it is.
pub const VICTIM: u32 = 4_101;
/// The user who takes it.
pub const TAKER: u32 = 4_102;
