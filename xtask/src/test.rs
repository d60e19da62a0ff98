//! Every test: unit tests, end-to-end tests on this machine's kernel as root, other kernels in virtual machines.

mod counted;
mod libtest;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;

use self::counted::counted;
use crate::{
    build::{self, Profile},
    cli::TestArgs,
    fuzz, privilege, process,
    setup::{self, Purpose, Toolchain},
    tally::Tally,
    vm,
    workspace::Workspace,
};

/// The package of end-to-end tests.
const END_TO_END: &str = "reuse-tests";

/// `cargo xtask test`.
///
/// # Errors
/// If set-up or the build of the daemon fails, or root cannot be had. Failing tests are no error but the exit status.
pub(crate) fn command(workspace: &Workspace, args: &TestArgs) -> Result<ExitCode> {
    privilege::prefix()?;
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build, Purpose::Test, Purpose::Vm])?;
    let (daemon, fuzzer) = build::daemon_and(workspace, &toolchain, fuzz::RULES, Profile::Release)?;
    let binaries = [("REUSE_DAEMON_BIN", daemon.as_path()), ("REUSE_FUZZ_RULES_BIN", fuzzer.as_path())];
    let parts = [
        ("unit tests", unit(workspace, &toolchain)?),
        ("end-to-end tests", end_to_end(workspace, &toolchain, &binaries)?),
        ("virtual machines", vm::boot_all(workspace, &toolchain)?),
    ];
    println!();
    for (part, tally) in &parts {
        println!("{part}: {tally}");
    }
    let total: Tally = parts.iter().map(|(_, tally)| *tally).sum();
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unit(workspace: &Workspace, toolchain: &Toolchain) -> Result<Tally> {
    let mut cargo = build::static_cargo(workspace, toolchain, &build::host_target()?, "test")?;
    cargo.args(["--workspace", "--exclude", END_TO_END, "--no-fail-fast"]);
    cargo.env("PATH", path(workspace, toolchain)?);
    counted(cargo)
}

fn end_to_end(workspace: &Workspace, toolchain: &Toolchain, binaries: &[(&str, &Path)]) -> Result<Tally> {
    let target = build::host_target()?;
    let path = path(workspace, toolchain)?;
    let mut cargo = build::static_cargo(workspace, toolchain, &target, "test")?;
    if !privilege::is_root() {
        cargo.arg("--config").arg(runner(&target, privilege::prefix()?, &path, binaries));
    }
    cargo
        .args(["--package", END_TO_END, "--no-fail-fast", "--", "--test-threads=1"])
        .env("PATH", path)
        .envs(binaries.iter().copied());
    counted(cargo)
}

/// `PATH` with the linker and the programs that were unpacked, not installed.
fn path(workspace: &Workspace, toolchain: &Toolchain) -> Result<OsString> {
    let unpacked = setup::unpacked_programs(workspace);
    let folders: Vec<&Path> =
        std::iter::once(&toolchain.linker_bin).chain(&unpacked).map(PathBuf::as_path).collect();
    process::path_with(&folders)
}

/// Cargo's configuration for running the test binaries as root. sudo resets the environment, so what the tests need
/// is set again behind it.
fn runner(target: &str, prefix: &[&str], path: &OsString, binaries: &[(&str, &Path)]) -> String {
    let binaries = binaries.iter().map(|(name, path)| format!("{name}={}", path.display()));
    let variables = [format!("PATH={}", path.display())].into_iter().chain(binaries);
    let words: Vec<String> = prefix
        .iter()
        .chain(&["env"])
        .map(|word| (*word).to_owned())
        .chain(variables)
        .map(|word| format!("'{word}'"))
        .collect();
    format!("target.{target}.runner=[{}]", words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_sets_again_what_sudo_takes_away() {
        let runner = runner("t", &["sudo"], &"/a:/b c".into(), &[("REUSE_DAEMON_BIN", Path::new("/d"))]);
        assert_eq!(runner, "target.t.runner=['sudo','env','PATH=/a:/b c','REUSE_DAEMON_BIN=/d']");
    }
}
