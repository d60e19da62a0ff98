//! One module per command: arguments in, exit status out.

pub mod check;
pub mod conflicts;
pub mod doctor;
pub mod explain;
pub mod groups;
mod outcome;
pub mod run;
pub mod sockets;
mod survey;
