//! What differs by architecture: where a system call's number and arguments are in the saved registers (index of 64-bit
//! words), the numbers of the calls, and how a call of the 32-bit kind is told.

/// x86-64, `struct pt_regs` (arch/x86/include/asm/ptrace.h): di, si, dx, r10, r8 keep the arguments.
#[cfg(bpf_target_arch = "x86_64")]
mod words {
    use super::super::registers::Registers;

    pub(crate) const FIRST: usize = 14;
    pub(crate) const SECOND: usize = 13;
    pub(crate) const THIRD: usize = 12;
    pub(crate) const FIFTH: usize = 9;
    /// `orig_ax`
    pub(crate) const NUMBER: usize = 15;
    /// `ax`
    const RESULT: usize = 10;

    /// Whether the call is not over: its result stands as ENOSYS until then (arch/x86/entry/entry_64.S).
    #[inline(always)]
    pub(crate) fn is_running(registers: Registers) -> bool {
        const ENOSYS: i64 = -38;
        registers.at(RESULT) as i64 == ENOSYS
    }

    /// arch/x86/entry/syscalls/syscall_64.tbl
    pub(crate) const BIND: u32 = 49;
    pub(crate) const LISTEN: u32 = 50;

    /// `thread_info.status`: `TS_COMPAT` (arch/x86/include/asm/thread_info.h)
    pub(crate) const COMPAT: u32 = 2;
    /// arch/x86/entry/syscalls/syscall_32.tbl: `listen`, `socketcall`
    pub(crate) const COMPAT_LISTEN: [u32; 2] = [363, 102];
}

/// arm64, `struct pt_regs` (arch/arm64/include/asm/ptrace.h): x0 is overwritten by the result, `orig_x0` keeps the
/// argument.
#[cfg(bpf_target_arch = "aarch64")]
mod words {
    use super::super::registers::Registers;

    pub(crate) const FIRST: usize = 34;
    pub(crate) const SECOND: usize = 1;
    pub(crate) const THIRD: usize = 2;
    pub(crate) const FIFTH: usize = 4;
    /// `syscallno`, the lower half of the word
    pub(crate) const NUMBER: usize = 35;
    /// `x0`
    const RESULT: usize = 0;

    /// Whether the call is not over: its result overwrites the first argument (arch/arm64/kernel/syscall.c). One that is the
    /// same as that argument is not noticed.
    #[inline(always)]
    pub(crate) fn is_running(registers: Registers) -> bool {
        registers.at(RESULT) == registers.at(FIRST)
    }

    /// include/uapi/asm-generic/unistd.h
    pub(crate) const BIND: u32 = 200;
    pub(crate) const LISTEN: u32 = 201;

    /// `thread_info.flags`: `TIF_32BIT` (arch/arm64/include/asm/thread_info.h)
    pub(crate) const COMPAT: u32 = 1 << 22;
    /// arch/arm64/tools/syscall_32.tbl: `listen`, `socketcall`
    pub(crate) const COMPAT_LISTEN: [u32; 2] = [284, 102];
}

pub(crate) use words::{
    BIND, COMPAT, COMPAT_LISTEN, FIFTH, FIRST, LISTEN, NUMBER, SECOND, THIRD, is_running,
};

/// Where `ret` usually is in the record of a `syscalls:sys_exit_*` tracepoint, bytes.
pub(crate) const USUAL_EXIT_RESULT: usize = 16;

/// Where it is on this kernel, by the tracepoint's `format` file: overridden by the daemon like the offsets of members.
#[unsafe(no_mangle)]
pub(crate) static EXIT_RESULT: u32 = USUAL_EXIT_RESULT as u32;
