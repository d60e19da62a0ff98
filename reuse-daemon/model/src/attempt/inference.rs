//! The errno of a bind of which is known only that it did not succeed: what the rulebook says of the port as it was read
//! before, else what is left.

use crate::{
    endpoint::Endpoint,
    event::{Call, Evidence},
    refusal::{EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL, ENOMEM, EPERM, UNPRIVILEGED_PORT_START},
    rulebook::{
        Contender, Kernel, Request, decide,
        precheck::{Surroundings, local_everywhere, precheck},
    },
    socket::State,
};

/// The likeliest errno, in about the order of the kernel's checks. Only routes would tell whether an address is local: that
/// is what is left when nothing else refuses.
pub(super) fn errno(attempt: &Call, kernel: &Kernel) -> i32 {
    let Some(asked) = attempt.requested else { return EAFNOSUPPORT };
    let evidence = attempt.evidence.as_deref();
    if attempt.socket.as_ref().is_some_and(|socket| socket.local.port != 0 || socket.state != State::Bound) {
        return EINVAL;
    }
    let Some(contender) = Contender::of(attempt, evidence) else { return EAFNOSUPPORT };
    let objection = precheck(&contender, asked.port, &around(attempt));
    if let Some(objection) = objection.filter(|_| asked.port != 0) {
        return objection.errno;
    }
    let read = evidence.and_then(|evidence| evidence.port.as_ref());
    match read.map(|port| decide(kernel, Request::Bind, &contender, port).refused) {
        Some(true) => EADDRINUSE,
        // Nobody looked: by far the likeliest.
        None if asked.port != 0 => EADDRINUSE,
        _ => left_over(attempt, asked, evidence),
    }
}

/// As if the address were local, and root might do everything where that was not seen.
fn around(attempt: &Call) -> Surroundings {
    let seen = attempt.evidence.as_ref().and_then(|evidence| evidence.circumstances);
    Surroundings {
        address_is_local: true,
        nonlocal_bind: false,
        unprivileged_port_start: seen.map_or(UNPRIVILEGED_PORT_START, |seen| seen.unprivileged_port_start),
        may_bind_privileged: seen.map_or(attempt.caller.uid == 0, |seen| seen.may_bind_privileged),
    }
}

fn left_over(attempt: &Call, asked: Endpoint, evidence: Option<&Evidence>) -> i32 {
    let flags = attempt.socket.as_ref().map(|socket| socket.flags).unwrap_or_default();
    let may_be_foreign = !local_everywhere(asked.address) && !flags.freebind && !flags.transparent;
    let is_loopback = asked.address.to_canonical().is_loopback();
    if may_be_foreign && !(is_loopback && asked.port == 0) {
        return EADDRNOTAVAIL;
    }
    if asked.port == 0 {
        return EADDRINUSE;
    }
    let seen = evidence.and_then(|evidence| evidence.circumstances).unwrap_or_default();
    // Filters and security modules answer before the attempt is seen.
    if seen.cgroup_program { EPERM } else { ENOMEM }
}
