//! Who shares, shadows or takes a port without any error being raised: states of the socket table, each told once, from
//! its begin to its end.
//!
//! A port is looked at a moment after something changed on it (`schedule`), and everything its sockets are to each
//! other then is a `state`: of two sides of the port (`pairs`), of one socket (`singles`), of a group
//! (`groups`), of what was refused (`attempts`) or came after a close (`takeover`). A state that is there for the
//! first time begins a signal, one that is there no longer ends it (`signals`).

mod active;
mod attempts;
mod case;
mod conspicuous;
mod departed;
mod flood;
mod groups;
mod handover;
mod kind;
mod meeting;
mod pairs;
mod policy;
mod reading;
mod schedule;
mod side;
mod signals;
mod singles;
mod state;
mod takeover;
#[cfg(test)]
mod tests;
mod traffic;

pub use case::{Case, Party, Role};
pub use kind::{Kind, NoKind, Severity};
pub use policy::{Criteria, Policy};
pub use schedule::Due;
pub use signals::{ACTIVE_MAX, Signals, Told, World};
pub use traffic::WATCHED_MAX;
