//! The SO_REUSEPORT group of a socket, read where many sockets are: by the iterators.

use core::mem::MaybeUninit;

use aya_ebpf::{cty::c_void, helpers::generated::bpf_loop};
use reuse_ebpf::group::{Program, RawGroup};

use super::field::{View, copy_words, is_there, offset, read, read_if_there};

const CHUNK: usize = RawGroup::CHUNK as usize;

/// Writes the group of a socket, as it is now; it may change while it is read.
///
/// # Safety
/// `to` must be valid for writes, and written.
#[inline(always)]
pub(crate) unsafe fn copy_group(to: *mut RawGroup, sk: u64) {
    // SAFETY: promised by the caller.
    unsafe { write_group(to, sk) };
}

/// To the verifier a function of its own, as [`super::evidence`] is.
///
/// # Safety
/// As [`copy_group`].
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn write_group(to: *mut RawGroup, sk: u64) -> i32 {
    if !to.is_null() {
        // SAFETY: promised by the caller.
        unsafe { *to = group_of(sk) };
    }
    0
}

#[inline(always)]
fn group_of(sk: u64) -> RawGroup {
    if !is_there(offset!(group_members)) {
        return RawGroup::NONE;
    }
    let group: u64 = read(sk + offset!(sk_reuseport_cb) as u64);
    if group == 0 {
        return RawGroup::NONE;
    }
    let members = u32::from(read::<u16>(group + offset!(group_members) as u64));
    let incoming_cpu: u32 = read(sk + offset!(sk_incoming_cpu) as u64);
    let heeding: u16 = read_if_there(group, offset!(group_incoming_cpu));
    RawGroup {
        members,
        index: index_of(sk, group, members),
        incoming_cpu,
        exists: 1,
        program: program_of(group) as u8,
        heeds_cpu: u8::from(heeding != 0),
        has_connected: View::of(group).bits(offset!(group_has_conns), 1),
    }
}

/// A classic program has no type (net/core/filter.c, `__get_filter`).
#[inline(always)]
fn program_of(group: u64) -> Program {
    let program: u64 = read(group + offset!(group_program) as u64);
    if program == 0 {
        return Program::None;
    }
    if read::<u32>(program + offset!(program_type) as u64) == 0 { Program::Classic } else { Program::Ebpf }
}

/// A search for a socket among the members of a group.
struct Search {
    sk: u64,
    /// The members that come next
    at: u64,
    /// How many were before
    passed: u32,
    found: u32,
}

#[inline(always)]
fn index_of(sk: u64, group: u64, members: u32) -> u32 {
    if !is_there(offset!(group_sockets)) {
        return RawGroup::NOT_FOUND;
    }
    let searched = if members > RawGroup::SEARCHED_MAX { RawGroup::SEARCHED_MAX } else { members };
    let at = group + offset!(group_sockets) as u64;
    let mut search = Search { sk, at, passed: 0, found: RawGroup::NOT_FOUND };
    let chunks = searched.div_ceil(RawGroup::CHUNK);
    // SAFETY: the callback gets the search, which outlives the loop.
    unsafe { bpf_loop(chunks, compare as *mut c_void, (&raw mut search).cast::<c_void>(), 0) };
    // Closed members stand at the other end of the same array.
    if search.found < searched { search.found } else { RawGroup::NOT_FOUND }
}

/// A callback of `bpf_loop`, private so that the loader takes it for one.
#[inline(never)]
extern "C" fn compare(_chunk: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the caller's search; nothing else refers to it during the step.
    let search = unsafe { &mut *context.cast::<Search>() };
    let mut members = MaybeUninit::<[u64; CHUNK]>::uninit();
    // SAFETY: all words are written.
    let members = unsafe {
        copy_words(members.as_mut_ptr(), search.at);
        members.assume_init()
    };
    for (position, member) in (0_u32..).zip(members) {
        if member == search.sk {
            search.found = search.passed + position;
            return 1;
        }
    }
    search.at += size_of::<[u64; CHUNK]>() as u64;
    search.passed += RawGroup::CHUNK;
    0
}
