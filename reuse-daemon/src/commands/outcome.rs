//! How the commands that look for something end: 0 found, 1 none, 2 error.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something
    Found,
    /// Nothing
    None,
}

/// The exit status; an error is told on stderr.
pub(super) fn exit(outcome: anyhow::Result<Outcome>) -> ExitCode {
    match outcome {
        Ok(Outcome::Found) => ExitCode::SUCCESS,
        Ok(Outcome::None) => ExitCode::from(1),
        Err(error) => {
            tell(format_args!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Says something on stderr, which may be closed.
pub(super) fn tell(what: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "reuse-daemon: {what}");
}

/// Whether something could be written: who reads may stop reading, which is no error of ours.
pub(super) fn written(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}
