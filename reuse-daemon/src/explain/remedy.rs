//! What to do where no socket is in the way, in sentences.

use std::net::{IpAddr, SocketAddr};

use reuse_model::{
    endpoint::Transport,
    refusal::Rule,
    rulebook::{Contender, precheck::Objection},
    text::escape,
};

use super::question::Question;

/// Where the options of the holders could not be read.
pub(super) const WITHOUT_OPTIONS: &str = "Which options the sockets in the way have set only root may read: run this \
     command with sudo to know the rule and what lets the bind succeed, or stop their owners.";

/// What lets the bind succeed that a check before the port refuses.
pub(super) fn of_objection(objection: Objection, question: &Question, contender: &Contender) -> String {
    match objection.rule {
        Rule::PrivilegedPort => privileged(question.port),
        Rule::AddressNotLocal => not_local(question, contender),
        Rule::DeviceGone => device_gone(question),
        Rule::Unsupported => {
            "This kernel has no IPv6, or it is switched off: ask for an IPv4 address.".to_owned()
        }
        _ => malformed(question),
    }
}

fn privileged(port: u16) -> String {
    format!(
        "Port {port} is privileged: give the program CAP_NET_BIND_SERVICE (setcap, or AmbientCapabilities= in its unit), \
         or lower sysctl net.ipv4.ip_unprivileged_port_start to {port} in its network namespace, or take a higher port."
    )
}

fn not_local(question: &Question, contender: &Contender) -> String {
    let any = if question.address.is_ipv4() { "0.0.0.0" } else { "[::]" };
    let place = if contender.device == 0 {
        "no interface of this network namespace has it"
    } else {
        "the interface that the socket is bound to does not have it"
    };
    let (address, port) = (question.address, question.port);
    format!(
        "{address} is not local: {place}. Add it there (ip address add), bind {any}:{port} to take all addresses, or set \
         IP_FREEBIND to bind it before it exists."
    )
}

fn device_gone(question: &Question) -> String {
    let which = question.scope().map_or_else(
        || "The interface of SO_BINDTODEVICE".to_owned(),
        |scope| format!("The interface {} of the address", escape(scope.as_bytes())),
    );
    format!("{which} does not exist in this network namespace: create it, or name another.")
}

fn malformed(question: &Question) -> String {
    let place = SocketAddr::new(question.address, question.port);
    match question.address {
        IpAddr::V6(v6) if v6.is_multicast() && question.transport == Transport::Tcp => {
            format!("TCP has no IPv6 multicast: {place} is for UDP alone.")
        }
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => format!(
            "{place} is an IPv4 address, which a socket with IPV6_V6ONLY cannot have: bind {} with an IPv4 socket, or \
             leave IPV6_V6ONLY out.",
            v6.to_ipv4_mapped().map_or_else(String::new, |v4| format!("{v4}:{}", question.port))
        ),
        _ => format!(
            "{} means something only together with an interface: write [{}%INTERFACE]:{}, or name one with --device.",
            question.address, question.address, question.port
        ),
    }
}
