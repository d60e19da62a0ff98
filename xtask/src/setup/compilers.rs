//! Looks at the compilers of this machine: what rustup and the distribution have, and where their LLVM lies.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process,
    setup::{
        Step,
        step::Failure,
        unit::{Compiler, Machine, PINS},
    },
};

const DISTRIBUTION_SYSROOT: &str = "/usr";

/// Asks rustup and the distribution's rustc.
///
/// # Errors
/// If rustup is not installed or has no active toolchain.
pub(crate) fn probe() -> Result<Machine> {
    if process::find("rustup").is_none() {
        bail!("rustup is needed: see https://rustup.rs, then install its stable toolchain");
    }
    // rustup sets the variable for everything it starts, this program included.
    let active = match env::var("RUSTUP_TOOLCHAIN") {
        Ok(name) => name,
        Err(_) => process::output(Command::new("rustup").args(["show", "active-toolchain"]))?
            .split_whitespace()
            .next()
            .map(str::to_owned)
            .context("rustup has no active toolchain: `rustup default stable` installs one")?,
    };
    let linked = inspect(PINS.distribution_toolchain).ok();
    Ok(Machine {
        active: inspect(&active).ok(),
        pinned: inspect(PINS.rustc).ok(),
        distribution_linked: linked.is_some(),
        distribution: linked.or_else(distribution),
        has_apt: process::find("apt-get").is_some(),
    })
}

/// The step for the formatter and clippy of the active toolchain, which lint everything but the eBPF programs.
pub(crate) fn missing_lints(machine: &Machine) -> Option<Step> {
    let active = machine.active.as_ref()?;
    let sysroot = sysroot(&active.toolchain).ok()?;
    let complete = active.has_clippy && sysroot.join("bin/rustfmt").is_file();
    (!complete).then(|| {
        let mut rustup = Command::new("rustup");
        rustup.args(["component", "add", "rustfmt", "clippy", "--toolchain", &active.toolchain]);
        let what = format!("rustfmt and clippy of {}", active.toolchain);
        Step::command(what, "formatting and lints".into(), rustup).on_failure(Failure::Ends)
    })
}

/// The compiler behind a toolchain name.
///
/// # Errors
/// If rustup does not have it or it does not run.
pub(crate) fn inspect(toolchain: &str) -> Result<Compiler> {
    let version = process::output(in_toolchain(toolchain, "rustc").arg("-vV"))?;
    describe(toolchain, &version, &sysroot(toolchain)?)
}

/// The folder a toolchain is installed in.
///
/// # Errors
/// As for [`inspect`].
pub(crate) fn sysroot(toolchain: &str) -> Result<PathBuf> {
    let printed = process::output(in_toolchain(toolchain, "rustc").args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(printed.trim_end()))
}

/// A command that runs a program of the toolchain, and never installs the toolchain on the way.
pub(crate) fn in_toolchain(toolchain: &str, program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, program]).env("RUSTUP_AUTO_INSTALL", "0");
    // A missing toolchain is an answer, not a bug of rustup to be traced.
    command.env_remove("RUST_BACKTRACE");
    command
}

/// The distribution's compiler, before rustup has a name for it.
fn distribution() -> Option<Compiler> {
    let sysroot = Path::new(DISTRIBUTION_SYSROOT);
    let version = process::output(Command::new(sysroot.join("bin/rustc")).arg("-vV")).ok()?;
    // Without the cargo that belongs to it the linked toolchain would be half a toolchain.
    sysroot
        .join("bin/cargo")
        .is_file()
        .then(|| describe(PINS.distribution_toolchain, &version, sysroot).ok())?
}

fn describe(toolchain: &str, version: &str, sysroot: &Path) -> Result<Compiler> {
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        version.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    Ok(Compiler {
        toolchain: toolchain.to_owned(),
        release: field("release").context("`rustc -vV` names no release")?,
        llvm: field("LLVM version").context("`rustc -vV` names no LLVM version")?,
        has_core_source: sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file(),
        has_clippy: sysroot.join("bin/cargo-clippy").is_file(),
    })
}

/// Warns if the distribution's cargo comes first in the user's `PATH`.
pub(crate) fn warn_if_shadowed() {
    let path = env::var_os("PATH").unwrap_or_default();
    if is_shadowed(&path, Path::new(DISTRIBUTION_SYSROOT)) {
        eprintln!(
            "xtask: {DISTRIBUTION_SYSROOT}/bin/cargo is now first in your PATH; to keep rustup's, put this at the end of \
             your shell's profile: export PATH=\"${{CARGO_HOME:-$HOME/.cargo}}/bin:$PATH\""
        );
    }
}

/// rustup's proxies add their folder to the `PATH` only where it is missing, so the order is still the user's.
fn is_shadowed(path: &OsStr, distribution: &Path) -> bool {
    process::find_in(path, "cargo").is_some_and(|cargo| cargo.starts_with(distribution))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const VERSION: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                           release: 1.95.0\nLLVM version: 22.1.2\n";

    #[test]
    fn a_compiler_is_read_from_its_verbose_version() {
        let compiler = describe("stable", VERSION, Path::new("/nonexistent")).unwrap();
        assert_eq!((compiler.release.as_str(), compiler.llvm.as_str()), ("1.95.0", "22.1.2"));
        assert!(compiler.fits() && !compiler.has_core_source);
    }

    #[test]
    fn a_version_without_llvm_is_an_error() {
        assert!(describe("odd", "release: 1.0.0\n", Path::new("/")).is_err());
    }

    #[test]
    fn a_cargo_of_the_distribution_shadows_only_where_it_comes_first() {
        let folder = env::temp_dir().join(format!("xtask-compilers-{}", std::process::id()));
        let (own, distribution) = (folder.join("own"), folder.join("usr/bin"));
        for bin in [&own, &distribution] {
            fs::create_dir_all(bin).unwrap();
            fs::write(bin.join("cargo"), "").unwrap();
        }
        let shadowed = |order: [&Path; 2]| is_shadowed(&env::join_paths(order).unwrap(), &folder.join("usr"));
        assert!(shadowed([&distribution, &own]));
        assert!(!shadowed([&own, &distribution]));
        assert!(!shadowed([Path::new("/nonexistent"), Path::new("/nonexistent")]));
        fs::remove_dir_all(folder).unwrap();
    }
}
