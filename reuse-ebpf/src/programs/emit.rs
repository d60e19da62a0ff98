//! Reserve and submit, with a counter beside every failure and a wake-up only for a reader that sleeps.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    maps::ring_buf::RingBufEntry,
};
use reuse_ebpf::{count::Lost, record::RING_BYTES};

use super::maps::{LOST, RING, SLEEPING};

/// Room for one record, or `None` and one more in the loss counter.
#[inline(always)]
pub(crate) fn reserve<T: 'static>(lost: Lost) -> Option<RingBufEntry<T>> {
    let entry = RING.reserve::<T>(0);
    if entry.is_none() {
        count_lost(lost);
    }
    entry
}

/// Submits a record. The reader sets the flag, drains once more and only then waits on a level-triggered poll, so a
/// record submitted without a wake-up is never left lying.
#[inline(always)]
pub(crate) fn submit<T: 'static>(entry: RingBufEntry<T>) {
    entry.submit(u64::from(wake_flag()));
}

/// Submits a record that can wait until the reader looks by itself, unless so many do that they would take the room of others.
#[inline(always)]
pub(crate) fn submit_quietly<T: 'static>(entry: RingBufEntry<T>) {
    entry.submit(u64::from(if has_unread(RING_BYTES / 8) { wake_flag() } else { BPF_RB_NO_WAKEUP }));
}

/// Whether more than so many bytes wait for the reader.
#[inline(always)]
pub(crate) fn has_unread(bytes: u32) -> bool {
    RING.query(u64::from(BPF_RB_AVAIL_DATA)) > u64::from(bytes)
}

/// Sends a record of `length` bytes that was built elsewhere, or counts its loss.
///
/// # Safety
/// `record` must be valid for `length` bytes.
#[inline(always)]
pub(crate) unsafe fn send(record: *const u8, length: u64, lost: Lost) {
    // SAFETY: promised by the caller.
    let bytes = unsafe { core::slice::from_raw_parts(record, length as usize) };
    if RING.output::<[u8]>(bytes, u64::from(wake_flag())).is_err() {
        count_lost(lost);
    }
}

#[inline(always)]
fn wake_flag() -> u32 {
    let Some(sleeping) = SLEEPING.get_ptr_mut(0) else { return BPF_RB_NO_WAKEUP };
    // SAFETY: the pointer is to the array's only element; a torn or lost update costs at most one extra wake-up.
    unsafe {
        if sleeping.read_volatile() == 0 {
            return BPF_RB_NO_WAKEUP;
        }
        sleeping.write_volatile(0);
    }
    BPF_RB_FORCE_WAKEUP
}

/// Counts something that could not be told.
#[inline(always)]
pub(crate) fn count_lost(lost: Lost) {
    if let Some(counter) = LOST.get_ptr_mut(lost as u32) {
        // SAFETY: per-CPU element; a nested program on the same CPU is kept out by the kernel's recursion guard.
        unsafe { *counter += 1 };
    }
}
