//! Formatting, lints of both sides, documentation: everything a reviewer should not have to say.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{
    cli::LintArgs,
    process::{self, render, run},
    setup::{self, Purpose, Toolchain},
    workspace::Workspace,
};

/// The package of the eBPF programs.
const EBPF: &str = "reuse-ebpf";

/// `cargo xtask lint`: takes every step even if one finds something, then names those that did.
///
/// # Errors
/// If set-up fails.
pub(crate) fn command(workspace: &Workspace, args: &LintArgs) -> Result<ExitCode> {
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build, Purpose::Lint])?;
    let mut steps = vec![format(workspace), host(workspace), documentation(workspace)];
    if toolchain.compiler.has_clippy {
        steps.push(ebpf(workspace, &toolchain)?);
    } else {
        println!("SKIP lint of the eBPF programs: {} has no clippy", toolchain.compiler.toolchain);
    }
    let mut failed = Vec::new();
    for step in &mut steps {
        eprintln!("xtask: {}", render(step));
        if run(step).is_err() {
            failed.push(render(step));
        }
    }
    for step in &failed {
        eprintln!("xtask: found something: {step}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn format(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["fmt", "--all", "--check"]);
    cargo
}

/// All but the eBPF programs, which are an empty `main` for the host; needs no eBPF toolchain.
fn host(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]);
    cargo.env_remove("REUSE_EBPF_TOOLCHAIN");
    cargo
}

fn documentation(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-Dwarnings");
    cargo.env_remove("REUSE_EBPF_TOOLCHAIN");
    cargo
}

/// The eBPF programs, compiled as the daemon's build script has them compiled.
fn ebpf(workspace: &Workspace, toolchain: &Toolchain) -> Result<Command> {
    let arch = std::env::consts::ARCH;
    let endian = if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" };
    let mut cargo = setup::in_toolchain(&toolchain.compiler.toolchain, "cargo");
    cargo
        .current_dir(&workspace.root)
        .args(["clippy", "--package", EBPF, "--lib", "--bins", "--release", "-Zbuild-std=core", "--target"])
        .arg(format!("{endian}-unknown-none"))
        // Another compiler and other flags than the workspace's: a folder of its own keeps both from rebuilding.
        .arg("--target-dir")
        .arg(workspace.target.join("lint-ebpf"))
        .args(["--", "-Dwarnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{arch}\""))
        .env("PATH", process::path_with(&[&toolchain.linker_bin])?);
    Ok(cargo)
}
