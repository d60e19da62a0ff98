//! Where a system call's arguments are in the saved registers when it returns, by architecture: index of 64-bit words.

/// x86-64, `struct pt_regs` (arch/x86/include/asm/ptrace.h): di, si, dx keep the arguments.
#[cfg(bpf_target_arch = "x86_64")]
mod words {
    pub(crate) const FIRST: usize = 14;
    pub(crate) const SECOND: usize = 13;
    pub(crate) const THIRD: usize = 12;
}

/// arm64, `struct pt_regs` (arch/arm64/include/asm/ptrace.h): x0 is overwritten by the result, `orig_x0` keeps the
/// argument.
#[cfg(bpf_target_arch = "aarch64")]
mod words {
    pub(crate) const FIRST: usize = 34;
    pub(crate) const SECOND: usize = 1;
    pub(crate) const THIRD: usize = 2;
}

pub(crate) use words::{FIRST, SECOND, THIRD};

/// Offset of `ret` in the record of a `syscalls:sys_exit_*` tracepoint (its `format` file), bytes.
pub(crate) const EXIT_RESULT: usize = 16;
