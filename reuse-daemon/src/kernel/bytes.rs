//! Reading plain values from the front of a byte slice: the one place that turns bytes into records.

use reuse_ebpf::{
    count::SelectionRow,
    record::{
        CallRecord, CloseRecord, EvidenceRecord, ExecRecord, ExitRecord, ForkRecord, HoldingRecord,
        OccupantRecord, PassRecord, TouchRecord,
    },
};

/// A type without padding for which every bit pattern is a value.
///
/// # Safety
/// Integers and arrays of integers in `repr(C)` only.
pub(super) unsafe trait Wire: Copy + 'static {
    /// The value at the front of `bytes`, if they are long enough.
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<Self>() {
            return None;
        }
        // SAFETY: long enough, any alignment is allowed, and every bit pattern is a value (promised by the trait).
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

// SAFETY: integers.
unsafe impl Wire for u8 {}
// SAFETY: integers.
unsafe impl Wire for u16 {}
// SAFETY: integers.
unsafe impl Wire for u32 {}
// SAFETY: integers.
unsafe impl Wire for u64 {}
// SAFETY: an array of integers.
unsafe impl<const N: usize> Wire for [u8; N] {}
// SAFETY: `repr(C)`, integers, size asserted where it is declared.
unsafe impl Wire for CallRecord {}
// SAFETY: as above.
unsafe impl Wire for CloseRecord {}
// SAFETY: as above.
unsafe impl Wire for ExitRecord {}
// SAFETY: as above.
unsafe impl Wire for ForkRecord {}
// SAFETY: as above.
unsafe impl Wire for ExecRecord {}
// SAFETY: as above.
unsafe impl Wire for TouchRecord {}
// SAFETY: as above.
unsafe impl Wire for PassRecord {}
// SAFETY: as above.
unsafe impl Wire for HoldingRecord {}
// SAFETY: as above.
unsafe impl Wire for SelectionRow {}
// SAFETY: as above.
unsafe impl Wire for EvidenceRecord {}
// SAFETY: as above.
unsafe impl Wire for OccupantRecord {}
