//! One step of a walk. A single callback with its phase in the scratch record: nested loops are more than a verifier will
//! follow, one flat machine it checks once.

use aya_ebpf::cty::c_void;

use super::{
    scratch::{Scratch, phase},
    tcp, udp,
};
use crate::programs::field::now;

pub(super) const CONTINUE: i64 = 0;
pub(super) const STOP: i64 = 1;

/// Steps that are made whatever they take: a busy machine must not make a short list shorter.
const PATIENT: u32 = 64;
/// Steps between two looks at the clock, a power of two.
const BETWEEN: u32 = 8;

/// A callback of `bpf_loop`, private so that the loader takes it for one.
#[inline(never)]
pub(super) extern "C" fn step(_index: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the caller's variable, which holds the scratch record of this CPU; nothing else refers to
    // it during the step.
    let scratch = unsafe { &mut **context.cast::<*mut Scratch>() };
    scratch.walk.steps += 1;
    let steps = scratch.walk.steps;
    if steps >= PATIENT && steps & (BETWEEN - 1) == 0 && now() - scratch.walk.began > scratch.walk.budget {
        scratch.evidence.truncated = 1;
        return STOP;
    }
    match scratch.walk.phase {
        phase::BUCKET => tcp::bucket(scratch),
        phase::LISTENERS_OF => tcp::listeners_of(&mut scratch.walk),
        phase::LISTENER => tcp::listener(scratch),
        phase::OWNERS_OF => tcp::owners_of(&mut scratch.walk),
        phase::OWNER => tcp::owner(scratch),
        phase::UDP_PORT => udp::in_port_slot(scratch),
        phase::UDP_ADDRESS => udp::in_address_slot(scratch),
        _ => STOP,
    }
}
