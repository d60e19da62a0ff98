//! The memory that the allocator holds for later.

/// Gives the kernel back what was freed: glibc keeps what lies between blocks in use until it is told otherwise. Worth its
/// time after something big that will not come again soon.
pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no argument of consequence; frees nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
