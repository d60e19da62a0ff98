//! One step of a walk. A single callback with its phase in the scratch record: nested loops are more than a verifier will
//! follow, one flat machine it checks once.

use aya_ebpf::cty::c_void;

use super::{
    address::Address,
    occupant::{add, devices_meet, may_overlap, take_room},
    scratch::{Scratch, Walk, phase},
    tcp, udp,
};
use crate::programs::{
    field::{offset, read},
    socket::Copied,
};

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
    if steps >= PATIENT && steps & (BETWEEN - 1) == 0 && scratch.elapsed() > scratch.walk.budget {
        scratch.evidence.truncated = 1;
        return STOP;
    }
    match scratch.walk.phase {
        phase::BUCKET => tcp::bucket(scratch),
        phase::LISTENERS_OF => tcp::listeners_of(&mut scratch.walk),
        phase::OWNERS_OF => tcp::owners_of(&mut scratch.walk),
        phase::LISTENER | phase::OWNER | phase::UDP_PORT | phase::UDP_ADDRESS => socket(scratch),
        _ => STOP,
    }
}

/// One socket of whichever chain. What the chains have in common is written once, and what they differ in is kept in memory
/// meanwhile: in registers it would make the verifier check the rest for each of them.
#[inline(always)]
fn socket(scratch: &mut Scratch) -> i64 {
    let phase = scratch.walk.phase;
    scratch.walk.entered = phase;
    let node = scratch.walk.node;
    if node == 0 {
        return next_chain(&mut scratch.walk);
    }
    let sk = node
        - match phase {
            phase::OWNER => offset!(sk_bind_node),
            phase::UDP_ADDRESS => offset!(sk_portaddr_node),
            _ => offset!(sk_node),
        } as u64;
    // SAFETY: a member of the walk, which is read anew for each socket.
    let common = unsafe { Copied::read(&raw mut scratch.walk.common, sk) };
    let next: u64 = match entered(&scratch.walk) {
        phase::OWNER => common.at(offset!(sk_bind_node)),
        phase::UDP_ADDRESS => common.at(offset!(sk_portaddr_node)),
        _ => common.at(offset!(sk_node)),
    };
    scratch.walk.node = next;
    let port: u16 = common.at(offset!(sk_num));
    let address = Address::of(common);
    let in_the_way = match entered(&scratch.walk) {
        phase::LISTENER => tcp::listener(scratch, next, address),
        phase::OWNER => tcp::owner(scratch, next, common, address),
        chain => {
            let stays =
                if chain == phase::UDP_PORT { udp::is_in_port_slot(scratch, common) } else { port != 0 };
            if !stays {
                scratch.evidence.disturbed = 1;
                return STOP;
            }
            may_overlap(&scratch.walk, address, common.at(offset!(sk_rcv_saddr)))
        }
    };
    if !in_the_way
        || port != scratch.walk.port
        || common.at::<u64>(offset!(sk_net)) != scratch.walk.net
        || sk == scratch.walk.asking
        || !devices_meet(&scratch.walk, common)
    {
        return CONTINUE;
    }
    let listens = entered(&scratch.walk) == phase::LISTENER;
    if take_room(scratch, listens) {
        add(scratch, sk, common, address);
    } else if !listens {
        return STOP;
    }
    CONTINUE
}

/// The phase that the step began in, from memory.
#[inline(always)]
fn entered(walk: &Walk) -> u32 {
    // SAFETY: a reference is valid to read.
    unsafe { (&raw const walk.entered).read_volatile() }
}

/// UDP: the slot of the wildcard after that of the address.
#[inline(always)]
fn next_chain(walk: &mut Walk) -> i64 {
    let then = walk.then;
    if then == 0 {
        return STOP;
    }
    walk.then = 0;
    walk.node = read(then);
    CONTINUE
}
