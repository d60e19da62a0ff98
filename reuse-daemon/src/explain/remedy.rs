//! What to do where no socket is in the way, in sentences.

use std::net::{IpAddr, SocketAddr};

use reuse_model::{
    endpoint::Transport,
    refusal::Rule,
    rulebook::{Blocker, Contender, precheck::Objection, remedy::sentences},
    text::escape,
};

use super::{question::Question, verdict::Case};

/// Where the options of the holders could not be read.
pub(super) const WITHOUT_OPTIONS: &str = "Which options the sockets in the way have set only root may read: run this \
     command with sudo to know the rule and what lets the bind succeed, or stop their owners.";

/// What lets the bind succeed that sockets on the port refuse.
pub(super) fn of_holders(case: &Case<'_>, blockers: &[Blocker]) -> String {
    sentences(case.kernel, case.contender, case.number, case.port, blockers).join(" ")
}

/// The same where the rule is certain though the options of the holders could not be read: a remedy that sets one they
/// have already is as good. `viewer` is the uid that sees only its own processes.
pub(super) fn of_certain_holders(case: &Case<'_>, blockers: &[Blocker], viewer: u32) -> String {
    let holders = blockers.iter().filter_map(|blocker| case.port.occupants.get(blocker.occupant));
    // Sockets in TIME_WAIT have no uid, and no process.
    let strangers = holders.filter(|holder| holder.uid.is_some_and(|uid| uid != viewer)).count();
    let remedy = of_holders(case, blockers);
    match strangers {
        _ if viewer == 0 => remedy,
        0 => remedy,
        1 => remedy + " With sudo this command names the process.",
        _ => remedy + " With sudo this command names the processes.",
    }
}

/// What lets the bind succeed that a check before the port refuses; `device` is that of SO_BINDTODEVICE.
pub(super) fn of_objection(
    objection: Objection,
    question: &Question,
    contender: &Contender,
    device: Option<&str>,
) -> String {
    match objection.rule {
        Rule::PrivilegedPort => privileged(question.port),
        Rule::AddressNotLocal => not_local(question, contender),
        Rule::DeviceGone => device_gone(question, device),
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
    // The kernel gives lo its addresses when it is brought up (net/ipv4/devinet.c, net/ipv6/addrconf.c).
    let lo = if address.is_loopback() && contender.device == 0 {
        " or bring up lo (ip link set lo up),"
    } else {
        ""
    };
    format!(
        "{address} is not local: {place}. Add it there (ip address add),{lo} bind {any}:{port} to take all addresses, or \
         set IP_FREEBIND to bind it before it exists."
    )
}

fn device_gone(question: &Question, device: Option<&str>) -> String {
    let which = match (question.scope(), device) {
        (Some(scope), _) => format!("The interface {} of the address", escape(scope.as_bytes())),
        (None, Some(device)) => format!("The interface {}", escape(device.as_bytes())),
        (None, None) => "The interface of SO_BINDTODEVICE".to_owned(),
    };
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

#[cfg(test)]
mod tests {
    use reuse_model::{
        refusal::{EADDRNOTAVAIL, ENODEV},
        socket::State,
    };

    use super::*;
    use crate::explain::verdict::tests::{HOME, contender, kernel, occupant, port};

    fn objected(errno: i32, rule: Rule, address: &str, device: Option<&str>) -> String {
        let question = Question {
            transport: Transport::Tcp,
            address: address.parse().unwrap(),
            scope: None,
            port: 8080,
        };
        of_objection(Objection { errno, rule }, &question, &contender(address), device)
    }

    #[test]
    fn a_missing_device_is_named() {
        let said = objected(ENODEV, Rule::DeviceGone, "0.0.0.0", Some("nope0"));
        assert!(said.starts_with("The interface nope0 does not exist"), "{said}");
    }

    #[test]
    fn loopback_addresses_come_with_lo() {
        for (address, expected) in [("127.0.0.1", true), ("::1", true), ("192.0.2.1", false)] {
            let said = objected(EADDRNOTAVAIL, Rule::AddressNotLocal, address, None);
            assert_eq!(said.contains("or bring up lo (ip link set lo up)"), expected, "{said}");
        }
    }

    #[test]
    fn a_stranger_is_named_by_sudo() {
        let (kernel, contender) = (kernel(), contender("127.0.0.1"));
        let said = |viewer, state| {
            let port = port(vec![occupant("127.0.0.1", state)]);
            let case = Case {
                kernel: &kernel,
                contender: &contender,
                number: 8080,
                port: &port,
                around: &HOME,
                listen: false,
            };
            of_certain_holders(&case, &case.verdict().decision.blockers, viewer)
        };
        let of_another = said(65534, State::Listen);
        assert!(of_another.starts_with("Stop the listener on 127.0.0.1:8080"), "{of_another}");
        assert!(of_another.ends_with(" With sudo this command names the process."), "{of_another}");
        for viewer in [0, 1000] {
            assert!(!said(viewer, State::Listen).contains("sudo"), "nothing is hidden from {viewer}");
        }
    }
}
