//! The one atomic operation the programs need. `core` offers none on this target, since old processors of it cannot
//! compare and swap; adding they always could (Documentation/bpf/standardization/instruction-set.rst, atomic
//! operations).

use core::arch::asm;

/// Adds one to a counter that other CPUs add to at the same time.
///
/// # Safety
/// `counter` must be valid for writes and only changed this way.
#[inline(always)]
pub(crate) unsafe fn add_one(counter: *mut u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter, one = in(reg) 1_u64) };
}
