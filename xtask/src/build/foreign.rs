//! The daemon for another architecture, without a compiler or C library of that architecture: Rust's own linker, and its
//! standard library for musl, which brings what a static binary needs.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::{DAEMON, Profile, build_command};
use crate::{cli::Architecture, process, setup::Toolchain, workspace::Workspace};

impl Architecture {
    fn target(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-musl",
            Self::Arm => "aarch64-unknown-linux-musl",
        }
    }
}

/// Builds the daemon and returns where cargo left it.
///
/// # Errors
/// If the standard library of the target cannot be had, or cargo fails.
pub(crate) fn daemon(
    workspace: &Workspace,
    toolchain: &Toolchain,
    architecture: Architecture,
    profile: Profile,
) -> Result<PathBuf> {
    const LINKER: &str = "-Clinker=rust-lld -Clink-self-contained=yes";
    let target = architecture.target();
    install(target)?;
    let flags =
        std::env::var("RUSTFLAGS").map_or_else(|_| LINKER.to_owned(), |flags| format!("{flags} {LINKER}"));
    let mut cargo = build_command(workspace, toolchain, target, Some(&flags), "build")?;
    cargo.args(["--package", DAEMON]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    process::run(&mut cargo)?;
    Ok(workspace.target.join(target).join(profile.folder()).join(DAEMON))
}

/// Has rustup fetch the standard library of a target, if it has not yet.
fn install(target: &str) -> Result<()> {
    let installed = process::output(Command::new("rustup").args(["target", "list", "--installed"]))?;
    if installed.lines().any(|line| line.trim() == target) {
        return Ok(());
    }
    eprintln!("xtask: installing Rust's standard library for {target} (rustup target add)");
    process::run(Command::new("rustup").args(["target", "add", target]))
        .with_context(|| format!("Rust's standard library for {target} cannot be had"))
}
