//! The same programs for kernels that let them read memory by plain loads: see `cast` in the library.
//!
//! An object of its own: the verifier would take the unused half of each reading out of a program piece by piece, and move
//! all that follows each time.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

/// These cast.
#[cfg(target_arch = "bpf")]
const CASTS: bool = true;

#[cfg(target_arch = "bpf")]
#[expect(clippy::needless_pass_by_value, reason = "aya-ebpf's attribute macros pass the context by value")]
mod programs;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("reuse-ebpf-casting holds eBPF programs; build it with `cargo xtask build`");
    std::process::exit(2);
}
