//! One module per command: arguments in, exit status out.

pub mod doctor;
pub mod explain;
pub mod run;
