//! The atomic operations the programs need. `core` offers none on this target, since old processors of it cannot compare
//! and swap (Documentation/bpf/standardization/instruction-set.rst, atomic operations); kernels can exchange since 5.12.

use core::arch::asm;

/// Adds one to a counter that other CPUs add to at the same time.
///
/// # Safety
/// `counter` must be valid for writes and only changed this way.
#[inline(always)]
pub(crate) unsafe fn add_one(counter: *mut u64) {
    // SAFETY: promised by the caller.
    unsafe { add(counter, 1) };
}

/// Adds to such a counter.
///
/// # Safety
/// As above.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, more: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!("lock *(u64 *)({counter} + 0) += {more}", counter = in(reg) counter, more = in(reg) more) };
}

/// Puts a value into a word that may be changed by others at the same time, and gives what was there.
///
/// # Safety
/// `word` must be valid for reads and writes, aligned, and only changed this way.
#[inline(always)]
pub(crate) unsafe fn exchange(word: *mut u64, value: u64) -> u64 {
    let mut exchanged = value;
    // SAFETY: promised by the caller.
    unsafe {
        asm!("{value} = xchg_64({word} + 0, {value})", word = in(reg) word, value = inout(reg) exchanged);
    }
    exchanged
}
