//! Tries the rulebook of binds and listens against this machine's kernel for as long as one likes.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    cli::FuzzRulesArgs,
    privilege, process,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// Package and binary of the fuzzer.
pub(crate) const RULES: &str = "reuse-fuzz-rules";

/// `cargo xtask fuzz-rules`: becomes the fuzzer, so that its exit status is the command's.
///
/// # Errors
/// If set-up or the build fails, root cannot be had, or the fuzzer cannot be started.
pub(crate) fn command(workspace: &Workspace, args: &FuzzRulesArgs) -> Result<ExitCode> {
    privilege::prefix()?;
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build])?;
    let fuzzer = build::binary(workspace, &toolchain, RULES, Profile::Release)?;
    let mut command = privilege::as_root(&fuzzer.to_string_lossy())?;
    command.args(arguments(args));
    eprintln!("xtask: {}", process::render(&command));
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::render(&command)))
}

/// The arguments as the fuzzer takes them.
fn arguments(args: &FuzzRulesArgs) -> Vec<String> {
    let named = [
        ("--scenarios", Some(args.scenarios.to_string())),
        ("--seconds", args.seconds.map(|seconds| seconds.to_string())),
        ("--seed", args.seed.map(|seed| seed.to_string())),
        ("--protocol", args.protocol.clone()),
        ("--threads", args.threads.map(|threads| threads.to_string())),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
    named.flatten().chain(args.keep_going.then(|| "--keep-going".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn what_was_typed_is_handed_on() {
        let typed =
            ["cargo xtask", "fuzz-rules", "--yes", "--scenarios", "7", "--seconds", "9", "--keep-going"];
        let Command::FuzzRules(args) = Cli::parse_from(typed).command else { panic!("not fuzz-rules") };
        assert_eq!(arguments(&args), ["--scenarios", "7", "--seconds", "9", "--keep-going"]);
    }
}
