//! The multicast groups that a socket joined (net/ipv4/igmp.c, `ip_mc_join_group`; net/ipv6/mcast.c,
//! `ipv6_sock_mc_join`), read where many sockets are: by the iterators.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use reuse_ebpf::record::{HoldingRecord, MULTICAST_MAX};

use super::{
    field::{is_there, offset, read},
    socket::AF_INET6,
};

/// Most memberships that are looked at: a group that was joined on several devices has several.
const LOOKED_AT_MAX: u32 = 16;

/// What is told: each address once, those that were joined first if there are more; no group has the address 0.
type Addresses = [[u64; 2]; MULTICAST_MAX];

/// A walk over both lists.
struct Walk {
    to: *mut Addresses,
    /// The membership that comes next, 0 at the end
    at: u64,
    /// The first of the other list, 0 if there is none, or it is being walked
    other: u64,
    /// Whether the list is of IPv6
    is_v6: u64,
}

/// Writes those of a socket of UDP as they are now; they may change while they are read.
///
/// # Safety
/// `to` must be valid for writes, and zero there; that the verifier should not know, or it checks the walk for each number of
/// places taken.
#[inline(always)]
pub(crate) unsafe fn copy_groups(to: *mut HoldingRecord, sk: u64, family: u16) {
    // SAFETY: promised by the caller.
    unsafe { write_groups(to, sk, u32::from(family)) };
}

/// To the verifier a function of its own, as [`super::evidence`] is.
///
/// # Safety
/// As [`copy_groups`].
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn write_groups(to: *mut HoldingRecord, sk: u64, family: u32) -> i32 {
    if to.is_null() || !is_there(offset!(inet_groups)) {
        return 0;
    }
    // SAFETY: promised by the caller.
    let to = unsafe { (&raw mut (*to).multicast).cast() };
    let other = if family == u32::from(AF_INET6) { first_v6(sk) } else { 0 };
    let mut walk = Walk { to, at: read(sk + offset!(inet_groups) as u64), other, is_v6: 0 };
    if walk.at | walk.other != 0 {
        // SAFETY: the callback gets the walk, which outlives the loop.
        unsafe { bpf_loop(LOOKED_AT_MAX, step as *mut c_void, (&raw mut walk).cast::<c_void>(), 0) };
    }
    0
}

/// The first membership in IPv6.
#[inline(always)]
fn first_v6(sk: u64) -> u64 {
    if !is_there(offset!(inet_v6)) || !is_there(offset!(v6_groups)) || !is_there(offset!(group6_next)) {
        return 0;
    }
    let v6: u64 = read(sk + offset!(inet_v6) as u64);
    if v6 == 0 { 0 } else { read(v6 + offset!(v6_groups) as u64) }
}

/// A callback of `bpf_loop`, private so that the loader takes it for one.
#[inline(never)]
extern "C" fn step(_index: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the caller's walk; nothing else refers to it during the step.
    let walk = unsafe { &mut *context.cast::<Walk>() };
    // SAFETY: promised to `copy_groups`.
    let to = unsafe { &mut *walk.to };
    if walk.at == 0 {
        if walk.other == 0 {
            return 1;
        }
        (walk.at, walk.other, walk.is_v6) = (walk.other, 0, 1);
    }
    let (address, next) = if walk.is_v6 != 0 {
        (offset!(group6_address), offset!(group6_next))
    } else {
        (offset!(group4_address), offset!(group4_next))
    };
    let mut found: [u64; 2] = read(walk.at + address as u64);
    if walk.is_v6 == 0 {
        const MAPPED: u64 = 0xffff_0000;
        found = [0, found[0] << 32 | MAPPED];
    }
    walk.at = read(walk.at + next as u64);
    // Without a branch for each: the verifier would check every order of them.
    let apart = |place: &[u64; 2]| is_nonzero(place[0] ^ found[0] | place[1] ^ found[1]);
    let is_new = apart(&to[0]) & apart(&to[1]) & apart(&to[2]) & apart(&to[3]);
    if core::hint::black_box(is_new) != 0 {
        *to = [found, to[0], to[1], to[2]];
    }
    0
}

/// 1 for any number but 0.
#[inline(always)]
fn is_nonzero(number: u64) -> u64 {
    core::hint::black_box(number | number.wrapping_neg()) >> 63
}
