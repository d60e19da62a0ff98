//! One module per command: arguments in, exit status out.

pub mod check;
pub mod conflicts;
pub mod doctor;
pub mod explain;
mod follow;
pub mod groups;
mod outcome;
pub mod run;
pub mod signals;
pub mod sockets;
mod survey;
