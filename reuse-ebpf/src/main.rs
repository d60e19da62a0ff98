//! The eBPF programs of reuse-daemon.
//!
//! They count in the kernel what is frequent and send through a ring what is rare; nothing here changes anybody's
//! socket, packet or call. One module per concern; see the library for the records they share with the daemon.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// The compiler builds core for this target only as unstable anyway; the assembler is for one instruction, `atomic`.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[expect(clippy::needless_pass_by_value, reason = "aya-ebpf's attribute macros pass the context by value")]
mod programs;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: the verifier refuses a program that could come here.
    loop {}
}

/// The kernel lends GPL-only helpers to programs that say so; the object is licensed Dual MIT/GPL.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("reuse-ebpf holds eBPF programs; build it with `cargo xtask build`");
    std::process::exit(2);
}
