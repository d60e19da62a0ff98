//! Telling the flows of datagrams apart, within a budget: see [`reuse_ebpf::flow`].

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_jiffies64};
use reuse_ebpf::{
    count::{Lost, Selection},
    flow::{LOOKS_PER_TICK_MAX, window_of},
};

use super::datagram::Header;
use crate::programs::{
    atomic::{add_one, exchange},
    emit::count_lost,
    field::{constant, is_there, offset},
    maps::{FLOWS, FLOWS_ENTERED, LOOKS, WINDOWS},
};

/// Most datagrams that a CPU looks at in one tick of the kernel's clock; overridden by the daemon.
#[unsafe(no_mangle)]
static LOOKS_PER_TICK: u32 = 64;

/// Whether flows are told apart at all on this kernel.
#[inline(always)]
pub(super) fn are_told() -> bool {
    is_there(offset!(skb_transport_header))
}

/// Takes one look from the budget of this CPU, if there is one left in this tick.
#[inline(always)]
pub(super) fn affords_look() -> bool {
    const BITS: u32 = LOOKS_PER_TICK_MAX.count_ones();
    let Some(looks) = LOOKS.get_ptr_mut(0) else { return false };
    // SAFETY: a helper without arguments, which the verifier replaces by a load; this CPU's own element: a program that
    // interrupts this one costs at most a look.
    unsafe {
        let (tick, taken) = (bpf_jiffies64() << BITS, looks.read());
        let begins = taken >> BITS << BITS != tick;
        if !begins && taken & u64::from(LOOKS_PER_TICK_MAX) >= constant(&LOOKS_PER_TICK) as u64 {
            return false;
        }
        looks.write(if begins { tick + 1 } else { taken + 1 });
    }
    true
}

/// Counts the flow of a datagram, if it is new to the socket in its window.
///
/// # Safety
/// `entry` must be the counter of that key.
#[inline(always)]
pub(super) unsafe fn note(entry: *mut Selection, key: u64, header: &Header) {
    let flow = mix(header.source() ^ mix(key));
    // SAFETY: an element of the array; user space writes it whole.
    let window = WINDOWS.get_ptr(window_of(key)).map_or(0, |window| unsafe { window.read_volatile() });
    // SAFETY: promised by the caller. The latest flow is a hint that saves a look-up, and may be any CPU's.
    unsafe {
        let latest = (&raw mut (*entry).latest).cast::<u64>();
        if latest.read_volatile() == flow.wrapping_add(window) {
            return;
        }
        latest.write_volatile(flow.wrapping_add(window));
        if is_new(flow, window) {
            add_one(&raw mut (*entry).flows);
        }
    }
}

/// Whether the flow was not seen in that window; it now was.
#[inline(always)]
fn is_new(flow: u64, window: u64) -> bool {
    const EEXIST: i64 = -17;
    if let Some(seen) = FLOWS.get_ptr_mut(flow) {
        // SAFETY: an element of the map; one that is evicted meanwhile takes a wrong number to another flow, which is then
        // counted once more or less.
        return unsafe { seen.read_volatile() != window && exchange(seen, window) != window };
    }
    match FLOWS.insert(flow, window, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            if let Some(entered) = FLOWS_ENTERED.get_ptr_mut(0) {
                // SAFETY: this CPU's own element.
                unsafe { *entered += 1 };
            }
            true
        }
        // Another CPU saw it in this very moment, and counts it.
        Err(error) if i64::from(error) == EEXIST => false,
        Err(_) => {
            count_lost(Lost::FlowMap);
            false
        }
    }
}

/// Spreads what differs in any bit over all of them.
#[inline(always)]
pub(super) fn mix(value: u64) -> u64 {
    const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;
    let value = (value ^ value >> 32).wrapping_mul(FACTOR);
    let value = (value ^ value >> 32).wrapping_mul(FACTOR);
    value ^ value >> 32
}
