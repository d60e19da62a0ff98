//! Builds the eBPF objects into `OUT_DIR/reuse-ebpf` and `OUT_DIR/reuse-ebpf-casting`, and into `OUT_DIR/reuse-ebpf-lean` what
//! the short commands need; or leaves empty stubs there.
//!
//! `cargo xtask build` names the toolchain in `REUSE_EBPF_TOOLCHAIN`; without it (a plain `cargo build`, `clippy`,
//! `doc`) no eBPF toolchain is needed, and a daemon built that way says so and exits.

#[path = "build/trim.rs"]
mod trim;

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use aya_build::{Package, Toolchain, build_ebpf};

const TOOLCHAIN: &str = "REUSE_EBPF_TOOLCHAIN";
/// Sections of the programs that are used without a daemon: `ask`, `snapshot` and `owners`
const LEAN: [&str; 2] = ["raw_tp", "iter/task_file"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed={TOOLCHAIN}");
    let out_dir = env::var_os("OUT_DIR").context("OUT_DIR is not set")?;
    let objects = ["reuse-ebpf", "reuse-ebpf-casting"].map(|name| Path::new(&out_dir).join(name));
    let lean = Path::new(&out_dir).join("reuse-ebpf-lean");
    let write = |path: &Path, bytes| {
        fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    let Ok(toolchain) = env::var(TOOLCHAIN) else {
        println!("cargo:rerun-if-changed=build.rs");
        write(&lean, Vec::new())?;
        return objects.iter().try_for_each(|object| write(object, Vec::new()));
    };
    // Building core from source is still unstable; a stable compiler does it only for those who insist. Set here and
    // not for the whole build, so that the host's crates are compiled as usual.
    // SAFETY: this build script has one thread.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../reuse-ebpf");
    let package = Package { name: "reuse-ebpf", root_dir: root, ..Package::default() };
    build_ebpf([package], Toolchain::Custom(&toolchain))?;
    println!("cargo:rerun-if-changed=build");
    let read = |object: &Path| fs::read(object).with_context(|| format!("cannot read {}", object.display()));
    let damaged = |object: &Path| format!("{} is damaged", object.display());
    let [by_helper, _] = &objects;
    let programs = trim::with_programs(&read(by_helper)?, &LEAN).map_err(|why| anyhow!(why));
    write(&lean, programs.with_context(|| damaged(by_helper))?)?;
    objects.iter().try_for_each(|object| {
        let trimmed = trim::trimmed(&read(object)?).map_err(|why| anyhow!(why));
        write(object, trimmed.with_context(|| damaged(object))?)
    })
}
