//! bpf-linker, built once per unit against the very LLVM of the unit's compiler.
//!
//! It is cached outside cargo's target folder, so a clean clone finds it again.

use std::{
    fmt, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process,
    setup::{
        Step, compilers,
        step::Failure,
        unit::{Compiler, PINS},
    },
    workspace::Workspace,
};

/// A complete unit.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) compiler: Compiler,
    /// The folder that has bpf-linker, for `PATH`.
    pub(crate) linker_bin: PathBuf,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiler { toolchain, release, llvm, .. } = &self.compiler;
        write!(f, "eBPF: {toolchain} (rustc {release}, LLVM {llvm}), bpf-linker {}", PINS.bpf_linker)
    }
}

/// The unit of the named toolchain, if it is complete.
///
/// # Errors
/// Names the part that is missing or does not fit.
pub(crate) fn ready(workspace: &Workspace, toolchain: &str) -> Result<Toolchain> {
    let compiler = fitting(toolchain)?;
    let bin = home(workspace, &compiler).join("bin");
    process::output(Command::new(bin.join("bpf-linker")).arg("--version"))?;
    Ok(Toolchain { compiler, linker_bin: bin })
}

/// Whether the linker for this compiler is cached and runs.
pub(crate) fn is_built(workspace: &Workspace, compiler: &Compiler) -> bool {
    let linker = home(workspace, compiler).join("bin/bpf-linker");
    process::output(Command::new(linker).arg("--version")).is_ok()
}

/// The step that builds the linker. The compiler may be part of an earlier step, so it is looked at only then.
pub(crate) fn step(workspace: &Workspace, toolchain: &str) -> Step {
    let cache = workspace.cache.clone();
    let toolchain = toolchain.to_owned();
    let shown = format!(
        "LLVM_PREFIX=<links to the compiler's libLLVM> cargo install bpf-linker --version {} --no-default-features \
         --features {}",
        PINS.bpf_linker, PINS.llvm_feature
    );
    let why = "links the eBPF object; must read the compiler's LLVM bitcode (about a minute)";
    Step::new(format!("bpf-linker {}", PINS.bpf_linker), why.into(), shown, move |_| {
        let compiler = fitting(&toolchain)?;
        install(&home_in(&cache, &compiler), &compiler)
    })
    .on_failure(Failure::Ends)
}

fn fitting(toolchain: &str) -> Result<Compiler> {
    let compiler = compilers::inspect(toolchain)?;
    if !compiler.fits() {
        bail!("{toolchain} has LLVM {}, the pinned linker reads LLVM {}", compiler.llvm, PINS.llvm_major);
    }
    if !compiler.has_core_source {
        bail!("{toolchain} has no source of core");
    }
    Ok(compiler)
}

fn install(home: &Path, compiler: &Compiler) -> Result<()> {
    let llvm = home.join("llvm");
    link_llvm(&compilers::sysroot(&compiler.toolchain)?, &llvm.join("lib"))?;
    let mut cargo = compilers::in_toolchain(&compiler.toolchain, "cargo");
    cargo
        .args(["install", "bpf-linker", "--version", PINS.bpf_linker, "--locked", "--force"])
        .args(["--no-default-features", "--features", PINS.llvm_feature, "--root"])
        .arg(home)
        .env("LLVM_PREFIX", &llvm)
        // Half of the time a build takes would go into its debug information.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        // The workspace's target folder belongs to the workspace; cargo then uses a temporary one.
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(home);
    process::run(&mut cargo)?;
    process::output(Command::new(home.join("bin/bpf-linker")).arg("--version"))
        .context("the freshly built bpf-linker does not run")?;
    Ok(())
}

/// Fills `into` with the two names the linker needs: `libLLVM.so` when it is built, the SONAME when it runs.
fn link_llvm(sysroot: &Path, into: &Path) -> Result<()> {
    let library = find_llvm(sysroot)?;
    let soname = library.file_name().context("libLLVM has no file name")?;
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    for link in [into.join("libLLVM.so"), into.join(soname)] {
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        symlink(&library, &link).with_context(|| format!("cannot make the link {}", link.display()))?;
    }
    Ok(())
}

/// rustup keeps its LLVM in `lib`, Debian in `lib/<multiarch>`.
fn find_llvm(sysroot: &Path) -> Result<PathBuf> {
    let prefix = format!("libLLVM.so.{}", PINS.llvm_major);
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    for folder in [sysroot.join("lib"), sysroot.join("lib").join(multiarch)] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut names = entries.flatten().map(|entry| entry.file_name());
        if let Some(name) = names.find(|name| name.to_string_lossy().starts_with(&prefix)) {
            return Ok(folder.join(name));
        }
    }
    bail!("no {prefix}* under {}/lib: the compiler links its LLVM statically", sysroot.display())
}

fn home(workspace: &Workspace, compiler: &Compiler) -> PathBuf {
    home_in(&workspace.cache, compiler)
}

/// One folder per unit. The toolchain's name is part of it, because a distribution's build of the same release has
/// another LLVM.
fn home_in(cache: &Path, Compiler { toolchain, release, llvm, .. }: &Compiler) -> PathBuf {
    cache
        .join("toolchain")
        .join(format!("{toolchain}-rustc-{release}-llvm-{llvm}-bpf-linker-{}", PINS.bpf_linker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-linker-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("sysroot/lib")).unwrap();
        folder
    }

    #[test]
    fn both_names_lead_to_the_compilers_llvm() {
        let folder = scratch("names");
        let library = folder.join("sysroot/lib/libLLVM.so.22.1-rust-1.95.0-stable");
        fs::write(&library, "").unwrap();
        for _again in 0..2 {
            link_llvm(&folder.join("sysroot"), &folder.join("links")).unwrap();
        }
        assert_eq!(fs::read_link(folder.join("links/libLLVM.so")).unwrap(), library);
        assert_eq!(fs::read_link(folder.join("links/libLLVM.so.22.1-rust-1.95.0-stable")).unwrap(), library);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn another_llvm_is_not_taken() {
        let folder = scratch("other");
        fs::write(folder.join("sysroot/lib/libLLVM.so.21.1"), "").unwrap();
        assert!(find_llvm(&folder.join("sysroot")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn units_do_not_share_a_folder() {
        let mut compiler = Compiler {
            toolchain: "stable".into(),
            release: "1.96.0".into(),
            llvm: "22.1.2".into(),
            has_core_source: true,
            has_clippy: true,
        };
        let first = home_in(Path::new("/c"), &compiler);
        compiler.toolchain = "reuse-ebpf".into();
        assert_ne!(first, home_in(Path::new("/c"), &compiler));
    }
}
