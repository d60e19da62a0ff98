//! The eBPF programs of reuse-daemon.
//!
//! They count in the kernel what is frequent and send through a ring what is rare; nothing here changes anybody's
//! socket, packet or call. One module per concern; see the library for the records they share with the daemon.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// The compiler builds core for this target only as unstable anyway; the assembler is for one instruction, `atomic`.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

/// These read kernel memory through the helper, on any kernel.
#[cfg(target_arch = "bpf")]
const CASTS: bool = false;

#[cfg(target_arch = "bpf")]
#[expect(clippy::needless_pass_by_value, reason = "aya-ebpf's attribute macros pass the context by value")]
mod programs;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("reuse-ebpf holds eBPF programs; build it with `cargo xtask build`");
    std::process::exit(2);
}
