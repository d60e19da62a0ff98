//! Every test: unit tests, end-to-end tests on this machine's kernel as root, other kernels in virtual machines.

mod counted;
mod host;
mod libtest;
pub(crate) mod suite;

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;

use self::{
    counted::counted,
    suite::{END_TO_END, TestBinary},
};
use crate::{
    build::{self, Profile},
    cli::TestArgs,
    fuzz, privilege, process,
    setup::{self, Purpose, Toolchain},
    support::cost,
    tally::Tally,
    vm,
    workspace::Workspace,
};

/// `cargo xtask test`.
///
/// # Errors
/// If set-up or the build of the daemon fails, or root cannot be had. Failing tests are no error but the exit status.
pub(crate) fn command(workspace: &Workspace, args: &TestArgs) -> Result<ExitCode> {
    privilege::prefix()?;
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build, Purpose::Test, Purpose::Vm])?;
    let (daemon, fuzzer) = build::daemon_and(workspace, &toolchain, fuzz::RULES, Profile::Release)?;
    let path = path(workspace, &toolchain)?;
    let unit = unit(workspace, &toolchain, &path)?;
    let tests = suite::build(workspace, &toolchain)?;
    let parts = [
        ("unit tests", unit),
        ("end-to-end tests", end_to_end(workspace, &path, (&daemon, &fuzzer), &tests)?),
        ("virtual machines", vm::boot_all(workspace, &toolchain, (&daemon, &fuzzer), &tests)?),
    ];
    println!();
    for (part, tally) in &parts {
        println!("{part}: {tally}");
    }
    let total: Tally = parts.iter().map(|(_, tally)| *tally).sum();
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unit(workspace: &Workspace, toolchain: &Toolchain, path: &OsStr) -> Result<Tally> {
    let mut cargo = build::static_cargo(workspace, toolchain, &build::host_target()?, "test")?;
    cargo.args(["--workspace", "--exclude", END_TO_END, "--no-fail-fast"]);
    cargo.env("PATH", path);
    Ok(counted(cargo)?.tally)
}

/// The suite on this machine's kernel, whose results are filed beside those of the virtual machines.
fn end_to_end(
    workspace: &Workspace,
    path: &OsStr,
    (daemon, fuzzer): (&Path, &Path),
    tests: &[TestBinary],
) -> Result<Tally> {
    let binaries = [("REUSE_DAEMON_BIN", daemon), ("REUSE_FUZZ_RULES_BIN", fuzzer)];
    let (tally, outcomes) = host::run(tests, &workspace.root.join("tests"), path, &binaries)?;
    let results = host::results(daemon, outcomes)?;
    results.write(workspace)?;
    Ok(tally + cost::check(workspace, &results)?)
}

/// `PATH` with the linker and the programs that were unpacked, not installed.
///
/// # Errors
/// If it cannot be composed.
pub(crate) fn path(workspace: &Workspace, toolchain: &Toolchain) -> Result<OsString> {
    let unpacked = setup::unpacked_programs(workspace);
    let folders: Vec<&Path> =
        std::iter::once(&toolchain.linker_bin).chain(&unpacked).map(PathBuf::as_path).collect();
    process::path_with(&folders)
}
