//! Watches servers doing what they do every day for minutes: what is told of it, and what the daemon takes meanwhile.

use std::{os::unix::process::CommandExt as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    cli::SoakArgs,
    privilege, process,
    setup::{self, Purpose},
    test::{self, suite::END_TO_END},
    workspace::Workspace,
};

/// The binary among those of the end-to-end tests.
const SOAK: &str = "soak";

/// `cargo xtask soak`: becomes the soak, so that its exit status is the command's.
///
/// # Errors
/// If set-up or a build fails, root cannot be had, or the soak cannot be started.
pub(crate) fn command(workspace: &Workspace, args: &SoakArgs) -> Result<ExitCode> {
    privilege::prefix()?;
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build, Purpose::Test])?;
    let daemon = build::daemon(workspace, &toolchain, Profile::Release)?;
    let soak = build::binary_of(workspace, &toolchain, (END_TO_END, SOAK), Profile::Release)?;
    let path = test::path(workspace, &toolchain)?;
    let mut command = privilege::as_root("env")?;
    command.args(arguments(&soak, &path.to_string_lossy(), &daemon, args.minutes));
    eprintln!("xtask: {}", process::render(&command));
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::render(&command)))
}

/// sudo resets the environment, so what the soak needs is set behind it.
fn arguments(soak: &Path, path: &str, daemon: &Path, minutes: u64) -> [String; 4] {
    [
        format!("PATH={path}"),
        format!("REUSE_DAEMON_BIN={}", daemon.display()),
        soak.display().to_string(),
        minutes.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn ten_minutes_unless_said_otherwise() {
        let minutes =
            |typed: &[&str]| match Cli::parse_from([&["cargo xtask", "soak"], typed].concat()).command {
                Command::Soak(args) => args.minutes,
                other => panic!("{other:?}"),
            };
        assert_eq!((minutes(&[]), minutes(&["--minutes", "3"])), (10, 3));
        let arguments = arguments(Path::new("/t/soak"), "/a:/b", Path::new("/d"), 3);
        assert_eq!(arguments, ["PATH=/a:/b", "REUSE_DAEMON_BIN=/d", "/t/soak", "3"]);
    }
}
