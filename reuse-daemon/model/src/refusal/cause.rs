//! The rule of a refusal that has nothing to do with other sockets.

mod foreign;

use super::{
    Confidence, Rule, UNPRIVILEGED_PORT_START,
    errno::{
        EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EBADF, EBUSY, EFAULT, EINVAL, ENODEV, ENOMEM,
        ENOTSOCK, EOPNOTSUPP, EPERM,
    },
};
use crate::{
    event::{Call, Circumstances, Phase},
    rulebook::Kernel,
    socket::State,
};
use Confidence::{BestEvidence, Exact};

/// The rule of a refused call, and how sure it is.
pub(super) fn of(call: &Call, kernel: &Kernel) -> (Rule, Confidence) {
    if matches!(call.phase, Phase::Connect | Phase::Send) {
        return without_port(call);
    }
    let seen = call.evidence.as_ref().and_then(|evidence| evidence.circumstances.as_ref());
    if foreign::contradicts(call) && seen.is_some_and(|seen| seen.seccomp_filter || seen.cgroup_program) {
        return foreign_errno(call.phase, seen);
    }
    let (rule, confidence) = of_errno(call, seen, kernel);
    // These two have nothing that would show a filter's answer for what it is.
    let unprovable = matches!(rule, Rule::EphemeralPortsExhausted | Rule::KernelResource);
    (rule, if unprovable && has_filter(seen) { BestEvidence } else { confidence })
}

/// A call that was to bind on the way is told only if it did not: the kernel found no port, or the port it has leads to the
/// peer already (net/ipv4/inet_hashtables.c, `__inet_hash_connect`).
fn without_port(call: &Call) -> (Rule, Confidence) {
    if call.wants_ephemeral_port() {
        return (Rule::EphemeralPortsExhausted, Exact);
    }
    (Rule::NoFreeTuple, Exact)
}

fn of_errno(call: &Call, seen: Option<&Circumstances>, kernel: &Kernel) -> (Rule, Confidence) {
    match (call.errno, call.phase) {
        (EADDRINUSE, _) => (Rule::EphemeralPortsExhausted, Exact),
        (EADDRNOTAVAIL, Phase::Bind) => (Rule::AddressNotLocal, Exact),
        (EACCES, Phase::Bind) => bind_denied(call, seen, kernel),
        (EACCES, _) => security_module(seen, kernel),
        (EPERM, Phase::Bind) => bind_not_permitted(seen),
        (EPERM, _) => listen_not_permitted(seen),
        (EINVAL, Phase::Bind) if is_bound(call) => (Rule::AlreadyBound, Exact),
        (EINVAL, Phase::Bind) => (Rule::InvalidAddress, Exact),
        (EINVAL, _) => (Rule::WrongState, Exact),
        (ENOMEM | EBUSY, _) => (Rule::KernelResource, Exact),
        (ENODEV, _) => (Rule::DeviceGone, Exact),
        (EAFNOSUPPORT | EOPNOTSUPP, _) => (Rule::Unsupported, Exact),
        (EFAULT | EBADF | ENOTSOCK, _) => (Rule::BadArguments, Exact),
        (_, phase) => foreign_errno(phase, seen),
    }
}

/// The privilege is checked after the security module, which therefore is the answer only where the privilege is there.
fn bind_denied(call: &Call, seen: Option<&Circumstances>, kernel: &Kernel) -> (Rule, Confidence) {
    let start = seen.map_or(UNPRIVILEGED_PORT_START, |seen| seen.unprivileged_port_start);
    let privileged = call.requested.is_some_and(|asked| asked.port != 0 && asked.port < start);
    match seen {
        Some(seen) if privileged && !seen.may_bind_privileged => (Rule::PrivilegedPort, Exact),
        // The capabilities are not known.
        None if privileged => (Rule::PrivilegedPort, BestEvidence),
        _ => security_module(seen, kernel),
    }
}

/// A filter may answer EACCES as well. Where one is, it is the likelier answer unless a security module has a policy for
/// every process: what is left then (Landlock, a BPF security module) binds those that asked for it.
fn security_module(seen: Option<&Circumstances>, kernel: &Kernel) -> (Rule, Confidence) {
    match (has_filter(seen), kernel.mandatory_access_control) {
        (false, _) => (Rule::SecurityModule, if seen.is_some() { Exact } else { BestEvidence }),
        (true, true) => (Rule::SecurityModule, BestEvidence),
        (true, false) => (Rule::Seccomp, BestEvidence),
    }
}

fn bind_not_permitted(seen: Option<&Circumstances>) -> (Rule, Confidence) {
    match seen.map(|seen| (seen.cgroup_program, seen.seccomp_filter)) {
        Some((true, false)) => (Rule::CgroupProgram, Exact),
        Some((false, true)) => (Rule::Seccomp, Exact),
        // A BPF security module chooses its errno, too.
        Some((false, false)) => (Rule::SecurityModule, BestEvidence),
        Some((true, true)) | None => (Rule::CgroupProgram, BestEvidence),
    }
}

/// No cgroup hook sees `listen`.
fn listen_not_permitted(seen: Option<&Circumstances>) -> (Rule, Confidence) {
    match seen.map(|seen| seen.seccomp_filter) {
        Some(true) => (Rule::Seccomp, Exact),
        Some(false) => (Rule::SecurityModule, BestEvidence),
        None => (Rule::Seccomp, BestEvidence),
    }
}

/// An errno that neither call gives by itself: filters, and cgroup programs since 5.18 (`bpf_set_retval`), choose theirs.
fn foreign_errno(phase: Phase, seen: Option<&Circumstances>) -> (Rule, Confidence) {
    let cgroup_program = phase == Phase::Bind && seen.is_some_and(|seen| seen.cgroup_program);
    let rule = if has_filter(seen) {
        Rule::Seccomp
    } else if cgroup_program {
        Rule::CgroupProgram
    } else {
        Rule::Unknown
    };
    (rule, BestEvidence)
}

fn has_filter(seen: Option<&Circumstances>) -> bool {
    seen.is_some_and(|seen| seen.seccomp_filter)
}

fn is_bound(call: &Call) -> bool {
    call.socket.as_ref().is_some_and(|socket| socket.local.port != 0 || socket.state != State::Bound)
}
