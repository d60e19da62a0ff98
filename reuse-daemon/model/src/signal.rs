//! Who shares, shadows or takes a port without any error being raised: states of the socket table, each told once, from
//! its begin to its end.

mod case;
mod kind;
mod policy;
mod signals;

pub use case::{Case, Party, Role};
pub use kind::{Kind, NoKind, Severity};
pub use policy::{Criteria, Policy};
pub use signals::{Signals, Told};
