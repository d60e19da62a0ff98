//! Other kernels: Debian's own, booted under emulation with the same static daemon and the `guest` package as init.
//!
//! The machine this runs on shows one kernel; these show an older and a newer one, with nothing locked down.

mod initramfs;
mod qemu;
mod verdict;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    cli::VmArgs,
    process,
    setup::{
        self, Purpose, Toolchain,
        kernels::{self, SERIES, Series},
    },
    tally::Tally,
    workspace::Workspace,
};

const QEMU: &str = "qemu-system-x86_64";

/// `cargo xtask vm`.
///
/// # Errors
/// If set-up or the build fails, or an unknown kernel is named.
pub(crate) fn command(workspace: &Workspace, args: &VmArgs) -> Result<ExitCode> {
    let wanted = select(&args.kernels)?;
    if args.list {
        for series in wanted {
            let cached = kernels::cached(workspace, series);
            println!(
                "{:5} {}",
                series.name,
                cached.map_or("not fetched yet".into(), |kernel| kernel.package)
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build, Purpose::Vm])?;
    let tally = boot(workspace, &toolchain, &wanted)?;
    println!("{tally}");
    // Whoever asks for a kernel by this command wants it booted: not having it is no success.
    Ok(if tally.failed == 0 && tally.skipped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots every known kernel for the test command; one that is not to be had is skipped aloud.
///
/// # Errors
/// If the build fails or a virtual machine cannot be prepared.
pub(crate) fn boot_all(workspace: &Workspace, toolchain: &Toolchain) -> Result<Tally> {
    boot(workspace, toolchain, &select(&[])?)
}

fn select(names: &[String]) -> Result<Vec<&'static Series>> {
    if names.is_empty() {
        return Ok(SERIES.iter().collect());
    }
    let find = |name: &String| {
        SERIES.iter().find(|series| series.name == name).with_context(|| {
            let known: Vec<_> = SERIES.iter().map(|series| series.name).collect();
            format!("no kernel series {name}; there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

fn boot(workspace: &Workspace, toolchain: &Toolchain, wanted: &[&'static Series]) -> Result<Tally> {
    let mut tally = Tally::default();
    let qemu = process::find(QEMU);
    let mut skip = |name: &str, why: &str| {
        println!("SKIP vm {name}: {why}");
        tally.skipped += 1;
    };
    let mut ready = Vec::new();
    for series in wanted {
        match (&qemu, kernels::cached(workspace, series)) {
            (_, _) if std::env::consts::ARCH != "x86_64" => {
                skip(series.name, "the kernels are x86-64 and so must be the daemon");
            }
            (None, _) => skip(series.name, "no qemu-system-x86_64 could be installed"),
            (_, None) => skip(series.name, "its kernel package could not be fetched"),
            (Some(qemu), Some(kernel)) => ready.push((qemu, series, kernel)),
        }
    }
    if ready.is_empty() {
        return Ok(tally);
    }
    let daemon = build::daemon(workspace, toolchain, Profile::Release)?;
    let guest = build::binary(workspace, toolchain, "reuse-guest", Profile::Release)?;
    let folder = workspace.target.join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let image = folder.join("initramfs.cpio");
    initramfs::write(&image, &[("init", &guest), ("reuse-daemon", &daemon)])?;
    for (qemu, series, kernel) in ready {
        println!("xtask: booting {} under emulation", kernel.package);
        let log = folder.join(format!("{}.log", series.name));
        tally += try_kernel(qemu, &kernel.image, &image, &log)
            .with_context(|| format!("the virtual machine with Linux {}", series.name))?;
    }
    Ok(tally)
}

fn try_kernel(qemu: &Path, kernel: &Path, image: &Path, log: &Path) -> Result<Tally> {
    let mut console = verdict::Console::default();
    let mut lines = Vec::new();
    let ending = qemu::boot(qemu, kernel, image, |line| {
        console.feed(line);
        lines.push(line.to_owned());
    })?;
    fs::write(log, lines.join("\n")).with_context(|| format!("cannot write {}", log.display()))?;
    let outcomes = console.conclude(ending);
    let tally = outcomes.iter().map(verdict::Outcome::tally).sum::<Tally>();
    for outcome in &outcomes {
        println!("{outcome}");
    }
    if outcomes.is_empty() {
        bail!("no outcome at all");
    }
    if tally.failed > 0 {
        const SHOWN: usize = 60;
        let skipped = lines.len().saturating_sub(SHOWN);
        println!("the last lines of the console (all in {}):", log.display());
        for line in lines.iter().skip(skipped) {
            println!("  | {}", line.replace(char::is_control, ""));
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_chosen_by_series_and_an_unknown_one_is_refused() {
        assert_eq!(select(&[]).unwrap().len(), SERIES.len());
        assert_eq!(select(&["6.12".to_owned()]).unwrap()[0].name, "6.12");
        let error = select(&["5.4".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "no kernel series 5.4; there are 6.1, 6.12");
    }
}
