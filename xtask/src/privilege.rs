//! Root, for the few commands that need it: installing packages, running the daemon and its tests.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::find;

/// Whether this process is root already.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Words that go before a command which needs root: none, or `sudo`.
///
/// # Errors
/// If this user is not root and there is no sudo.
pub(crate) fn prefix() -> Result<&'static [&'static str]> {
    if is_root() {
        Ok(&[])
    } else if find("sudo").is_some() {
        Ok(&["sudo"])
    } else {
        bail!("root is needed and there is no sudo: run the command as root, or install sudo")
    }
}

/// A command that runs `program` as root.
///
/// # Errors
/// As for [`prefix`].
pub(crate) fn as_root(program: &str) -> Result<Command> {
    Ok(match prefix()? {
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        [] => Command::new(program),
    })
}
