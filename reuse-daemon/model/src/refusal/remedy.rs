//! What to do about a refusal without a holder: sentences for the operator. Those for holders are in
//! [`crate::rulebook::remedy`].

use std::net::SocketAddr;

use super::{Confidence, EADDRINUSE, Rule, errno_name};
use crate::{event::Call, event::Phase};

/// One or two sentences on what lets the call succeed.
pub(super) fn sentence(rule: Rule, confidence: Confidence, call: &Call) -> String {
    let exact = confidence == Confidence::Exact;
    match rule {
        Rule::EphemeralPortsExhausted => {
            "Every port the kernel may choose here is taken: close sockets, widen sysctl \
             net.ipv4.ip_local_port_range, or ask for a port outside of it."
                .to_owned()
        }
        Rule::NoFreeTuple => no_free_tuple(call, exact),
        Rule::KernelResource if call.errno == EADDRINUSE => format!(
            "Nothing that refuses was found on {}: ask again. If it is refused again, the kernel is out of memory for \
             sockets, or the SO_REUSEPORT group is full (65,535 members).",
            place(call)
        ),
        Rule::KernelResource => {
            "The kernel is out of memory for sockets, or the SO_REUSEPORT group is full (65,535 \
             members): free memory, or close members."
                .to_owned()
        }
        Rule::PrivilegedPort => privileged_port(call, exact),
        Rule::SecurityModule => format!(
            "A security module (SELinux, AppArmor, Landlock) forbids {} on {}: allow it in the policy of the \
             program, the kernel's audit log names the rule.",
            phase(call),
            place(call)
        ),
        Rule::AddressNotLocal => address_not_local(call),
        Rule::AlreadyBound => already_bound(call),
        Rule::InvalidAddress => {
            "The address does not fit the socket: give the family's full length, no IPv6 \
             multicast address for TCP, no ::ffff:a.b.c.d where IPV6_V6ONLY is set, and an interface \
             (sin6_scope_id) for a link-local address."
                .to_owned()
        }
        Rule::WrongState => {
            "The socket is connected or connecting and cannot listen: call listen() on a new socket."
                .to_owned()
        }
        Rule::CgroupProgram if exact => format!(
            "A BPF program of the process's cgroup forbids {} on {}: find it with `bpftool cgroup tree`, and allow it \
             there.",
            phase(call),
            place(call)
        ),
        Rule::CgroupProgram => format!(
            "A BPF program of the process's cgroup, or a seccomp filter, answers {}; which of the two cannot be told \
             from the call. Look for cgroup programs with `bpftool cgroup tree` and for a filter in the Seccomp line \
             of /proc/PID/status.",
            errno_name(call.errno)
        ),
        Rule::Seccomp if exact => format!(
            "A seccomp filter forbids {}: allow it in the service's filter (systemd: SystemCallFilter=; container: its \
             seccomp profile).",
            phase(call)
        ),
        Rule::Seccomp => format!(
            "Most likely a seccomp filter answers {}. See the Seccomp line of /proc/PID/status, and allow {} in the \
             service's filter (systemd: SystemCallFilter=; container: its seccomp profile).",
            errno_name(call.errno),
            phase(call)
        ),
        Rule::DeviceGone => {
            "The interface that the address or SO_BINDTODEVICE names does not exist in this network \
             namespace: create it, or name another."
                .to_owned()
        }
        Rule::Unsupported => unsupported(call),
        Rule::BadArguments => {
            "The program passed a descriptor that is no open socket, or an address it cannot read: \
             this is a bug in the program."
                .to_owned()
        }
        Rule::ReuseportUidMismatch
        | Rule::ReuseportProgramAttached
        | Rule::HolderIsListening
        | Rule::Exclusive
        | Rule::HolderLacksReuseport
        | Rule::ContenderLacksReuseport
        | Rule::HolderLacksReuseaddr
        | Rule::ContenderLacksReuseaddr
        | Rule::HolderIsClosing
        | Rule::TimeWait
        | Rule::Unknown => unknown(call),
    }
}

fn phase(call: &Call) -> &'static str {
    match call.phase {
        Phase::Bind => "bind()",
        Phase::Listen => "listen()",
        Phase::Connect => "connect()",
        Phase::Send => "sendto()",
    }
}

fn no_free_tuple(call: &Call, exact: bool) -> String {
    let peer = call.peer.map_or_else(
        || "the same peer".to_owned(),
        |peer| SocketAddr::new(peer.address, peer.port).to_string(),
    );
    let otherwise =
        if exact { "" } else { " If there is none, the kernel had no route or no memory for it." };
    format!(
        "A connection from {} to {peer} exists already or is in TIME_WAIT: do not bind before connect(), bind another port \
         or address, or end that connection.{otherwise}",
        place(call)
    )
}

/// `address:port` of the call, or a word where it has none.
fn place(call: &Call) -> String {
    call.endpoint().map_or_else(
        || "this address".to_owned(),
        |endpoint| SocketAddr::new(endpoint.address, endpoint.port).to_string(),
    )
}

fn privileged_port(call: &Call, exact: bool) -> String {
    let port = call.requested.map_or(0, |asked| asked.port);
    let otherwise = if exact { "" } else { " If it has the capability, a security module refused." };
    format!(
        "Port {port} is privileged: give the program CAP_NET_BIND_SERVICE, or lower sysctl \
         net.ipv4.ip_unprivileged_port_start to {port} in its network namespace, or take a higher port.{otherwise}"
    )
}

fn address_not_local(call: &Call) -> String {
    let Some(asked) = call.requested else {
        return "The address is on no interface of this network namespace: add it, or bind another."
            .to_owned();
    };
    let (address, any) = (asked.address, if asked.address.is_ipv4() { "0.0.0.0" } else { "[::]" });
    let device = call.socket.as_ref().and_then(|socket| socket.device.as_ref());
    let place = device.map_or_else(
        || "no interface of this network namespace".to_owned(),
        |device| {
            format!(
                "no interface that this socket may use (it is bound to {})",
                crate::text::escape(device.name.as_bytes())
            )
        },
    );
    let lo =
        if address.is_loopback() && device.is_none() { " or bring up lo (ip link set lo up)," } else { "" };
    format!(
        "{address} is on {place}: add it there,{lo} bind {any}:{} to take all addresses, or set IP_FREEBIND to bind it \
         before it exists.",
        asked.port
    )
}

fn already_bound(call: &Call) -> String {
    let bound = call.socket.as_ref().map(|socket| socket.local).filter(|local| local.port != 0);
    bound.map_or_else(
        || "The socket is connected: call bind() first, or on a new socket.".to_owned(),
        |local| {
            format!(
                "The socket is bound to {} already: bind a new socket.",
                SocketAddr::new(local.address, local.port)
            )
        },
    )
}

fn unsupported(call: &Call) -> String {
    match call.phase {
        Phase::Bind => {
            "The address is of another family than the socket: make the socket with the address's family."
                .to_owned()
        }
        Phase::Listen | Phase::Connect | Phase::Send => {
            "Only stream sockets listen: drop the listen() call, a datagram socket receives once bound."
                .to_owned()
        }
    }
}

fn unknown(call: &Call) -> String {
    if call.errno == EADDRINUSE {
        let port = call.endpoint().map_or(0, |endpoint| endpoint.port);
        format!(
            "Another socket holds {}: find its owner under port {port} in /api/v1/sockets, and stop it or take \
             another port. If none is listed, a connection or its TIME_WAIT (at most 60 s) holds it.",
            place(call)
        )
    } else {
        format!("{} answered {}, for which no rule is known.", phase(call), errno_name(call.errno))
    }
}
