//! Builds the eBPF object into `OUT_DIR/reuse-ebpf`, or leaves an empty stub there.
//!
//! `cargo xtask build` names the toolchain in `REUSE_EBPF_TOOLCHAIN`; without it (a plain `cargo build`, `clippy`,
//! `doc`) no eBPF toolchain is needed, and a daemon built that way says so and exits.

#[path = "build/trim.rs"]
mod trim;

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use aya_build::{Package, Toolchain, build_ebpf};

const TOOLCHAIN: &str = "REUSE_EBPF_TOOLCHAIN";

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed={TOOLCHAIN}");
    let out_dir = env::var_os("OUT_DIR").context("OUT_DIR is not set")?;
    let object = Path::new(&out_dir).join("reuse-ebpf");
    let Ok(toolchain) = env::var(TOOLCHAIN) else {
        println!("cargo:rerun-if-changed=build.rs");
        return fs::write(&object, []).with_context(|| format!("cannot write {}", object.display()));
    };
    // Building core from source is still unstable; a stable compiler does it only for those who insist. Set here and
    // not for the whole build, so that the host's crates are compiled as usual.
    // SAFETY: this build script has one thread.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../reuse-ebpf");
    let package = Package { name: "reuse-ebpf", root_dir: root, ..Package::default() };
    build_ebpf([package], Toolchain::Custom(&toolchain))?;
    println!("cargo:rerun-if-changed=build");
    let whole = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    let trimmed = trim::trimmed(&whole).map_err(|why| anyhow!("{}: {why}", object.display()))?;
    fs::write(&object, trimmed).with_context(|| format!("cannot write {}", object.display()))
}
