//! Typed readers over the offsets the daemon took from BTF.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_probe_read_user};
use reuse_ebpf::{
    cast,
    offsets::{ABSENT, Offsets},
};

use crate::CASTS;

/// Overridden by the daemon before the programs are loaded, frozen afterwards: constants to the verifier.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::UNSET;

/// Number of the structure that addresses are cast to. Overridden likewise.
#[unsafe(no_mangle)]
static CAST_TO: u32 = 0;

/// One offset, in bytes (or bits) from the start of its structure.
macro_rules! offset {
    ($field:ident) => {
        $crate::programs::field::constant(&$crate::programs::field::OFFSETS.$field)
    };
}
pub(crate) use offset;

/// Reads a global as it is at run time.
#[inline(always)]
pub(crate) fn constant(global: &'static u32) -> usize {
    // SAFETY: a reference is valid to read; volatile because the loader replaces its bytes after compilation.
    unsafe { core::ptr::read_volatile(global) as usize }
}

/// A structure in kernel memory of which several members are read.
#[derive(Clone, Copy)]
pub(crate) struct View(*const u8);

impl View {
    /// At an address.
    #[inline(always)]
    pub(crate) fn of(address: u64) -> Self {
        Self(address as *const u8)
    }

    /// Behind a pointer that the verifier knows by its type, and forbids to read arbitrary members through (a cgroup program's
    /// socket, say).
    #[inline(always)]
    pub(crate) fn of_typed<T>(pointer: *const T) -> Self {
        Self(if CASTS { to_words(pointer.cast()).cast() } else { address_of(pointer) as *const u8 })
    }

    /// The member at an offset; zeroes where it cannot be read.
    #[inline(always)]
    pub(crate) fn at<T: Copy>(self, offset: usize) -> T {
        if !CASTS {
            return read_by_helper(self.0 as u64 + offset as u64);
        }
        let mut value = MaybeUninit::<T>::uninit();
        // It is cast where the member is: structures may be longer than what they are cast to.
        // SAFETY: all of the value is written; callers use integers and arrays only.
        unsafe {
            load_cast(value.as_mut_ptr(), to_words(self.0.wrapping_add(offset)));
            value.assume_init()
        }
    }

    /// What stands within it, at an offset.
    #[inline(always)]
    pub(crate) fn behind(self, offset: usize) -> Self {
        Self(self.0.wrapping_add(offset))
    }

    /// Whether it is at that address.
    #[inline(always)]
    pub(crate) fn is_at(self, address: u64) -> bool {
        self.0 as u64 == address
    }

    /// A bit-field of `width` bits that does not cross a byte.
    #[inline(always)]
    pub(crate) fn bits(self, bit: usize, width: u32) -> u8 {
        self.at::<u8>(bit >> 3) >> (bit & 7) & ((1 << width) - 1)
    }
}

/// Casts a pointer or an address to words that can be loaded; only where the programs are to.
#[inline(always)]
fn to_words(pointer: *const u8) -> *const u64 {
    type Cast = unsafe extern "C" fn(*const c_void, u32) -> *const u64;
    // SAFETY: a call by number, as those of helpers are; the daemon makes it that of the kernel's function.
    unsafe {
        let call = core::mem::transmute::<usize, Cast>(cast::CALL as usize);
        call(pointer.cast(), constant(&CAST_TO) as u32)
    }
}

/// Loads a value from behind a cast pointer, in units of its alignment.
///
/// In assembler, which the compiler makes one with nothing else: a load that may also be from a map or a typed pointer is refused
/// by kernels before 6.17, and by those before 7.3 no longer guarded against a fault (kernel/bpf/verifier.c,
/// `save_aux_ptr_type`).
///
/// # Safety
/// `to` must be valid for writes; that `from` is for reads may be left to the verifier. The value must be an integer or an array of
/// some.
#[inline(always)]
unsafe fn load_cast<T>(to: *mut T, mut from: *const u64) {
    macro_rules! load {
        ($unit:ty, $load:literal, $advance:literal) => {{
            let count = size_of::<T>() / size_of::<$unit>();
            let mut at = 0;
            while at < count {
                let word: u64;
                asm!($load, word = lateout(reg) word, from = in(reg) from);
                to.cast::<$unit>().add(at).write(word as $unit);
                at += 1;
                if at < count {
                    asm!($advance, from = inout(reg) from);
                }
            }
        }};
    }
    const { assert!(size_of::<T>() <= cast::BYTES as usize) };
    // SAFETY: promised by the caller.
    unsafe {
        match align_of::<T>() {
            1 => load!(u8, "{word} = *(u8 *)({from} + 0)", "{from} += 1"),
            2 => load!(u16, "{word} = *(u16 *)({from} + 0)", "{from} += 2"),
            4 => load!(u32, "{word} = *(u32 *)({from} + 0)", "{from} += 4"),
            _ => load!(u64, "{word} = *(u64 *)({from} + 0)", "{from} += 8"),
        }
    }
}

/// Reads `T` at a kernel address; zeroes where the address cannot be read.
#[inline(always)]
pub(crate) fn read<T: Copy>(address: u64) -> T {
    View::of(address).at(0)
}

#[inline(always)]
fn read_by_helper<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all `size_of::<T>()` bytes, with zeroes on a fault; callers use integers and arrays only.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        value.assume_init()
    }
}

/// Reads the member at `offset` of a structure; zeroes where this kernel has no such member, or the programs are to do
/// without.
#[inline(always)]
pub(crate) fn read_if_there<T: Copy>(base: u64, offset: usize) -> T {
    if is_there(offset) {
        return read(base + offset as u64);
    }
    // SAFETY: callers use integers and arrays only.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Whether this kernel has the member of that offset, and the programs are to use it.
#[inline(always)]
pub(crate) fn is_there(offset: usize) -> bool {
    offset as u32 != ABSENT
}

/// Copies `size` bytes from a kernel address to `to`, through the helper.
///
/// # Safety
/// `to` must be valid for `size` bytes.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut u8, size: usize, address: u64) {
    // SAFETY: promised by the caller.
    unsafe { bpf_probe_read_kernel(to.cast(), size as u32, address as *const _) };
}

/// Copies words from a kernel address to `to`.
///
/// # Safety
/// `to` must be valid for writes.
#[inline(always)]
pub(crate) unsafe fn copy_words<const WORDS: usize>(to: *mut [u64; WORDS], address: u64) {
    if !CASTS {
        // SAFETY: promised by the caller.
        return unsafe { copy(to.cast(), size_of::<[u64; WORDS]>(), address) };
    }
    // SAFETY: promised by the caller.
    unsafe { load_cast(to, to_words(address as *const u8)) };
}

/// Zeroes a value whose size is a multiple of eight. Word by word: what the compiler makes of it otherwise is a loop over
/// its bytes, which the verifier follows round by round.
///
/// # Safety
/// `to` must be valid for writes and aligned to eight bytes.
#[inline(always)]
pub(crate) unsafe fn zero<T>(to: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    let mut at = 0;
    while at < size_of::<T>() {
        // SAFETY: promised by the caller.
        unsafe { to.byte_add(at).cast::<u64>().write_volatile(0) };
        at += 8;
    }
}

/// Copies `size` bytes from the calling process; whether it could be read.
///
/// # Safety
/// `to` must be valid for `size` bytes.
#[inline(always)]
pub(crate) unsafe fn copy_user(to: *mut u8, size: u32, address: u64) -> bool {
    // SAFETY: promised by the caller.
    unsafe { bpf_probe_read_user(to.cast(), size, address as *const _) == 0 }
}

/// Reads a member of a structure that the verifier knows by its BTF type: a plain load, no helper.
///
/// # Safety
/// `base` must be a pointer the verifier accepts for such loads, and the member at `offset` a `T`.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: promised by the caller and enforced by the verifier.
    unsafe { base.add(offset).cast::<T>().read() }
}

/// The number behind a typed pointer: the verifier lets the helper copy the pointer itself from the stack.
#[inline(always)]
pub(crate) fn address_of<T>(pointer: *const T) -> u64 {
    let slot = [pointer as u64];
    read_by_helper(core::hint::black_box(&slot).as_ptr() as u64)
}

/// Nanoseconds of a clock that only differences are taken of.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}
