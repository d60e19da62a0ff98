//! Other kernels: Debian's own, booted under emulation with the same static daemon and the same test binaries as this
//! machine's kernel is tried with, and the `guest` package as init.
//!
//! The machine this runs on shows one kernel; these show an older and a newer one, with nothing locked down, and one that
//! is.

mod initramfs;
mod machine;
mod qemu;
mod queue;
mod userland;
mod variant;
mod verdict;

use std::{fs, iter, path::Path, process::ExitCode, thread};

use anyhow::{Context as _, Result};

use self::{
    machine::{Built, Machine},
    queue::{Queues, Seat},
    variant::Variant,
};
use crate::{
    build::{self, Profile},
    cli::VmArgs,
    fuzz, process,
    setup::{self, Purpose, Toolchain, kernels},
    support::{cost, results::Results},
    tally::Tally,
    test::suite::{self, TestBinary},
    workspace::Workspace,
};

const QEMU: &str = "qemu-system-x86_64";

/// `cargo xtask vm`.
///
/// # Errors
/// If set-up or the build fails, or an unknown kernel is named.
pub(crate) fn command(workspace: &Workspace, args: &VmArgs) -> Result<ExitCode> {
    let wanted = variant::select(&args.kernels)?;
    if args.list {
        return list(workspace, &wanted);
    }
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build, Purpose::Test, Purpose::Vm])?;
    let (daemon, fuzzer) = build::daemon_and(workspace, &toolchain, fuzz::RULES, Profile::Release)?;
    let tests = suite::build(workspace, &toolchain)?;
    let built = Built { daemon: &daemon, fuzzer: &fuzzer, tests: &tests };
    let tally = boot(workspace, &toolchain, &built, &wanted, args.only.as_deref())?;
    println!("{tally}");
    // Whoever asks for a kernel by this command wants all of it tried: not having it is no success.
    Ok(if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(workspace: &Workspace, wanted: &[&Variant]) -> Result<ExitCode> {
    for variant in wanted {
        let cached = kernels::cached(workspace, variant.series()?);
        let kernel = cached.map_or("not fetched yet".into(), |kernel| kernel.package);
        println!("{:20} {kernel} {}", variant.name, variant.parameters);
    }
    Ok(ExitCode::SUCCESS)
}

/// Boots every known kernel for the test command; one that is not to be had is skipped aloud.
///
/// # Errors
/// If the build of init fails or a virtual machine cannot be prepared.
pub(crate) fn boot_all(
    workspace: &Workspace,
    toolchain: &Toolchain,
    (daemon, fuzzer): (&Path, &Path),
    tests: &[TestBinary],
) -> Result<Tally> {
    boot(workspace, toolchain, &Built { daemon, fuzzer, tests }, &variant::select(&[])?, None)
}

fn boot(
    workspace: &Workspace,
    toolchain: &Toolchain,
    built: &Built<'_>,
    wanted: &[&'static Variant],
    only: Option<&str>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let qemu = process::find(QEMU);
    let mut skip = |name: &str, why: &str| {
        println!("SKIP vm {name}: {why}");
        tally.skipped += 1;
    };
    let mut ready = Vec::new();
    for variant in wanted {
        match (&qemu, kernels::cached(workspace, variant.series()?)) {
            (_, _) if std::env::consts::ARCH != "x86_64" => {
                skip(variant.name, "the kernels are x86-64 and so must be the daemon");
            }
            (None, _) => skip(variant.name, "no qemu-system-x86_64 could be installed"),
            (_, None) => skip(variant.name, "its kernel package could not be fetched"),
            (Some(qemu), Some(kernel)) => ready.push((qemu, *variant, kernel)),
        }
    }
    if ready.is_empty() {
        return Ok(tally);
    }
    let folder = workspace.target.join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let guest = build::binary(workspace, toolchain, "reuse-guest", Profile::Release)?;
    let files = machine::Files::collect(workspace, built, &guest, &folder)?;
    let variants: Vec<_> = ready
        .into_iter()
        .map(|(qemu, variant, kernel)| {
            (qemu, variant, kernel, files.plan(variant.tests, only.unwrap_or_default()))
        })
        .collect();
    let queues = Queues::new(variants.iter().map(|(.., plan)| plan.clone()));
    let mut runs = side_by_side(&queues, &|Seat { variant: at, number }| {
        let (qemu, variant, kernel, plan) = variants.get(at).context("a variant that is none")?;
        let machine = Machine { qemu, variant, kernel: kernel.clone(), number, plan };
        let ran = machine.run(&files, &folder, || queues.next(at));
        queues.leave(at, ran.as_ref().is_ok_and(|(_, regularly)| *regularly));
        ran.map(|(results, _)| results).with_context(|| format!("the virtual machine {}", variant.name))
    })?;
    let unrun = variants.iter().zip(queues.left()).filter(|(_, left)| !left.is_empty());
    runs.extend(unrun.map(|((_, variant, ..), left)| machine::unrun(variant, &left)));
    for results in Results::joined(runs) {
        if only.is_none() {
            results.write(workspace)?;
        }
        println!("vm {}: {}", results.machine, results.tally());
        tally += results.tally() + cost::check(workspace, &results)?;
    }
    Ok(tally)
}

/// Runs machines until none is worth its boot, twice as many at a time as there are processors: each keeps one busy for half
/// of its time, and waits for the other. With more of them tests come too late for what the daemon does by its clock.
fn side_by_side(queues: &Queues, run: &(impl Fn(Seat) -> Result<Results> + Sync)) -> Result<Vec<Results>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || iter::from_fn(|| queues.boot()).map(run).collect();
        let workers: Vec<_> = (0..processors.saturating_mul(2)).map(|_| scope.spawn(work)).collect();
        let results: Result<Vec<Vec<Results>>> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        Ok(results?.into_iter().flatten().collect())
    })
}
