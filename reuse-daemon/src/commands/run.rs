//! `run`: the daemon.

use std::process::ExitCode;

use crate::cli::RunArguments;

/// Runs the command.
#[must_use]
pub fn main(_arguments: &RunArguments) -> ExitCode {
    ExitCode::FAILURE
}
