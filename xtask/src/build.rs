//! Builds the eBPF object and the daemon around it.
//!
//! The daemon is one static binary for every kernel and distribution. `crt-static` cannot build procedural macros
//! on a glibc host, so the target is named even though it is the host: flags then apply to the daemon alone.

mod foreign;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    cli::BuildArgs,
    process,
    setup::{self, Purpose, Toolchain},
    workspace::Workspace,
};

/// Package and binary of the daemon.
const DAEMON: &str = "reuse-daemon";

/// Optimised or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// `cargo xtask build`.
///
/// # Errors
/// If set-up or the build fails.
pub(crate) fn command(workspace: &Workspace, args: &BuildArgs) -> Result<ExitCode> {
    let toolchain = setup::prepare(workspace, &args.setup, &[Purpose::Build])?;
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    let daemon = match args.arch {
        Some(architecture) => foreign::daemon(workspace, &toolchain, architecture, profile)?,
        None => daemon(workspace, &toolchain, profile)?,
    };
    eprintln!("xtask: built {}; {toolchain}", daemon.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the daemon and returns its binary, in the place where a plain `cargo build` leaves one.
///
/// # Errors
/// If cargo fails or the binary cannot be put in place.
pub(crate) fn daemon(workspace: &Workspace, toolchain: &Toolchain, profile: Profile) -> Result<PathBuf> {
    let built = binary(workspace, toolchain, DAEMON, profile)?;
    let place = workspace.target.join(profile.folder()).join(DAEMON);
    put(&built, &place)?;
    Ok(place)
}

/// Builds the daemon and another package in one go, so that what they share is compiled once; returns both binaries.
///
/// # Errors
/// As for [`daemon`].
pub(crate) fn daemon_and(
    workspace: &Workspace,
    toolchain: &Toolchain,
    package: &str,
    profile: Profile,
) -> Result<(PathBuf, PathBuf)> {
    let folder = compile(workspace, toolchain, &[DAEMON, package], profile)?;
    let place = workspace.target.join(profile.folder()).join(DAEMON);
    put(&folder.join(DAEMON), &place)?;
    Ok((place, folder.join(package)))
}

/// Builds the package's binary of the same name, static, and returns where cargo left it.
///
/// # Errors
/// If cargo fails.
pub(crate) fn binary(
    workspace: &Workspace,
    toolchain: &Toolchain,
    package: &str,
    profile: Profile,
) -> Result<PathBuf> {
    binary_of(workspace, toolchain, (package, package), profile)
}

/// The same for a binary by another name than its package's.
///
/// # Errors
/// If cargo fails.
pub(crate) fn binary_of(
    workspace: &Workspace,
    toolchain: &Toolchain,
    (package, binary): (&str, &str),
    profile: Profile,
) -> Result<PathBuf> {
    Ok(compile(workspace, toolchain, &[package], profile)?.join(binary))
}

/// Builds packages, static, and returns the folder where cargo left their binaries.
fn compile(
    workspace: &Workspace,
    toolchain: &Toolchain,
    packages: &[&str],
    profile: Profile,
) -> Result<PathBuf> {
    let target = host_target()?;
    let mut cargo = static_cargo(workspace, toolchain, &target, "build")?;
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    process::run(&mut cargo)?;
    Ok(workspace.target.join(target).join(profile.folder()))
}

/// A cargo command whose artefacts are static and whose daemon embeds the real eBPF object.
///
/// # Errors
/// If `PATH` cannot be composed.
pub(crate) fn static_cargo(
    workspace: &Workspace,
    toolchain: &Toolchain,
    target: &str,
    subcommand: &str,
) -> Result<Command> {
    build_command(workspace, toolchain, target, env::var("RUSTFLAGS").ok().as_deref(), subcommand)
}

/// The same with the user's flags as given.
fn build_command(
    workspace: &Workspace,
    toolchain: &Toolchain,
    target: &str,
    user: Option<&str>,
    subcommand: &str,
) -> Result<Command> {
    let (key, flags) = static_flags(target, user);
    let mut cargo = workspace.cargo();
    cargo
        .args([subcommand, "--target", target])
        .env(key, flags)
        // The daemon's build script builds the object only when it is told with which toolchain.
        .env("REUSE_EBPF_TOOLCHAIN", &toolchain.compiler.toolchain)
        .env("PATH", process::path_with(&[&toolchain.linker_bin])?);
    Ok(cargo)
}

/// The variable that carries the flags: cargo reads the target's own only where `RUSTFLAGS` is not set.
fn static_flags(target: &str, user: Option<&str>) -> (String, String) {
    const STATIC: &str = "-Ctarget-feature=+crt-static";
    match user {
        Some(user) => ("RUSTFLAGS".to_owned(), format!("{user} {STATIC}")),
        None => {
            let target = target.to_ascii_uppercase().replace(['-', '.'], "_");
            (format!("CARGO_TARGET_{target}_RUSTFLAGS"), STATIC.to_owned())
        }
    }
}

/// The target triple of this machine, as the active compiler names it.
///
/// # Errors
/// If rustc cannot be asked.
pub(crate) fn host_target() -> Result<String> {
    let version = process::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

/// Hard-links the binary into place, or copies it where links do not reach. The old one is unlinked first: it may be
/// running.
fn put(built: &Path, place: &Path) -> Result<()> {
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    if place.exists() {
        fs::remove_file(place).with_context(|| format!("cannot replace {}", place.display()))?;
    }
    fs::hard_link(built, place)
        .or_else(|_| fs::copy(built, place).map(drop))
        .with_context(|| format!("cannot put {} to {}", built.display(), place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_flags_are_kept() {
        assert_eq!(
            static_flags("x86_64-unknown-linux-gnu", None),
            (
                "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS".to_owned(),
                "-Ctarget-feature=+crt-static".to_owned()
            )
        );
        let (key, flags) = static_flags("x86_64-unknown-linux-gnu", Some("-Ctarget-cpu=native"));
        assert_eq!(key, "RUSTFLAGS");
        assert_eq!(flags, "-Ctarget-cpu=native -Ctarget-feature=+crt-static");
    }

    #[test]
    fn a_binary_is_replaced_without_writing_into_the_old_one() {
        let folder = env::temp_dir().join(format!("xtask-build-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (built, place, held) = (folder.join("built"), folder.join("deep/place"), folder.join("held"));
        fs::write(&built, "old").unwrap();
        put(&built, &place).unwrap();
        fs::hard_link(&place, &held).unwrap();
        fs::remove_file(&built).unwrap();
        fs::write(&built, "new").unwrap();
        put(&built, &place).unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "new");
        assert_eq!(fs::read_to_string(&held).unwrap(), "old");
        fs::remove_dir_all(folder).unwrap();
    }
}
