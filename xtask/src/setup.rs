//! Set-up: works out what is missing, says so, and brings it.
//!
//! The order is fixed: the distribution's packages, then the eBPF toolchain unit (compiler, core source, linker).
//! A unit that cannot be had gives way to the next one. When nothing is missing, no command is run that could reach
//! the network.

mod apt;
mod compilers;
mod consent;
pub(crate) mod kernels;
mod linker;
mod packages;
mod step;
mod suite;
mod unit;

pub(crate) use self::{
    apt::Apt,
    compilers::in_toolchain,
    linker::Toolchain,
    packages::{Purpose, unpacked_programs},
    step::Step,
};

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    cli::{Origin, SetupArgs},
    setup::unit::{Candidate, Fix},
    workspace::Workspace,
};

/// `cargo xtask setup`: everything that any other command would ask for.
///
/// # Errors
/// As for [`prepare`].
pub(crate) fn everything(workspace: &Workspace, args: &SetupArgs) -> Result<ExitCode> {
    let toolchain = prepare(workspace, args, &[Purpose::Build, Purpose::Test, Purpose::Vm])?;
    eprintln!("xtask: ready; {toolchain}");
    Ok(ExitCode::SUCCESS)
}

/// Brings what the purposes need and returns the toolchain for the eBPF object.
///
/// # Errors
/// If something required is missing and may not or cannot be installed.
pub(crate) fn prepare(workspace: &Workspace, args: &SetupArgs, purposes: &[Purpose]) -> Result<Toolchain> {
    let mut apt = Apt::new();
    let mut steps = packages::missing(workspace, purposes, &apt);
    if purposes.contains(&Purpose::Vm) {
        steps.extend(kernels::missing(workspace, &apt));
    }
    let machine = compilers::probe()?;
    let mut candidates = unit::candidates(&machine, args.ebpf_toolchain);
    if purposes.contains(&Purpose::Lint) {
        steps.extend(compilers::missing_lints(&machine));
        candidates = candidates.into_iter().map(Candidate::with_clippy).collect();
    }
    if args.no_install {
        return only_look(workspace, &steps, candidates.first());
    }
    for candidate in &candidates {
        let mut unit = unit_steps(workspace, candidate);
        consent::obtain(args, &steps.iter().chain(&unit).collect::<Vec<_>>())?;
        step::take(&mut steps, &mut apt)?;
        match step::take(&mut unit, &mut apt).and_then(|()| linker::ready(workspace, &candidate.toolchain)) {
            Ok(toolchain) => {
                if candidate.origin == Origin::Distribution {
                    compilers::warn_if_shadowed();
                }
                return Ok(toolchain);
            }
            Err(error) => eprintln!("xtask: {candidate} cannot be had: {error:#}"),
        }
    }
    bail!("{}", unit::NONE_LEFT)
}

/// `--no-install`: everything is there, or it is listed.
fn only_look(workspace: &Workspace, steps: &[Step], best: Option<&Candidate>) -> Result<Toolchain> {
    let Some(best) = best else { bail!("{}", unit::NONE_LEFT) };
    let unit = unit_steps(workspace, best);
    let missing: Vec<&Step> = steps.iter().chain(&unit).collect();
    if missing.is_empty() {
        return linker::ready(workspace, &best.toolchain);
    }
    step::show(&missing);
    bail!("{} missing, and --no-install was given", step::count(missing.len()))
}

/// What the candidate still lacks.
fn unit_steps(workspace: &Workspace, candidate: &Candidate) -> Vec<Step> {
    let mut steps: Vec<Step> = candidate.fixes.iter().map(Fix::step).collect();
    let cached = candidate.compiler.as_ref().is_some_and(|compiler| linker::is_built(workspace, compiler));
    if !cached {
        steps.push(linker::step(workspace, &candidate.toolchain));
    }
    steps
}
