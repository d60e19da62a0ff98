//! Runs the daemon as root.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    cli::RunArgs,
    privilege, process,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// `cargo xtask run`: becomes the daemon, so that signals and the exit status are its own.
///
/// # Errors
/// If set-up or the build fails, root cannot be had, or the daemon cannot be started.
pub(crate) fn command(workspace: &Workspace, args: &RunArgs) -> Result<ExitCode> {
    privilege::prefix()?;
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build])?;
    let daemon = build::daemon(workspace, &toolchain, Profile::Release)?;
    let mut command = privilege::as_root(&daemon.to_string_lossy())?;
    command.args(arguments(&args.daemon));
    eprintln!("xtask: {}", process::render(&command));
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::render(&command)))
}

/// `run` goes before flags; another subcommand stands for itself.
fn arguments(given: &[String]) -> Vec<&str> {
    let subcommand = given.first().is_some_and(|first| !first.starts_with('-'));
    let run = (!subcommand).then_some("run");
    run.into_iter().chain(given.iter().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_of_run_and_a_subcommand_is_itself() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(arguments(&[]), ["run"]);
        assert_eq!(arguments(&words(&["--events", "json"])), ["run", "--events", "json"]);
        assert_eq!(arguments(&words(&["doctor", "--json"])), ["doctor", "--json"]);
    }
}
