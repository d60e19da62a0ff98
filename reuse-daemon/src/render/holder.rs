//! One holder in words.

use std::{fmt::Write, net::SocketAddr};

use reuse_model::{
    endpoint::Protocol,
    refusal::Rule,
    report::{ConflictEvent, HolderReport, OwnerReport},
};

/// Owners of a holder that are named; of more their number.
const OWNERS: usize = 4;
/// The state of a socket that has not what it asked for.
const REFUSED: &str = "refused";
/// Characters of a command line that are shown.
const COMMAND: usize = 72;

/// The holder to name where there is room for one: the one that decided, or the first that the event's rule is about.
pub(super) fn principal(event: &ConflictEvent) -> Option<&HolderReport> {
    event.holders.iter().find(|holder| holder.rule == Some(event.rule)).or(event.holders.first())
}

/// `0.0.0.0:80 listening, web.service: nginx[812] (root), no SO_REUSEADDR, no SO_REUSEPORT: it listens [holder_is_listening]`
pub(super) fn line(holder: &HolderReport) -> String {
    described(holder, &state(holder))
}

/// The same of one that was refused what it asked for.
pub(super) fn line_of_refused(holder: &HolderReport) -> String {
    described(holder, REFUSED)
}

fn described(holder: &HolderReport, state: &str) -> String {
    let mut text = briefly(holder, state);
    for (set, name) in [(holder.reuseaddr, "SO_REUSEADDR"), (holder.reuseport, "SO_REUSEPORT")] {
        let _ = match set {
            Some(true) => write!(text, ", {name}"),
            Some(false) => write!(text, ", no {name}"),
            None => Ok(()),
        };
    }
    if holder.v6only == Some(true) && holder.address.is_ipv6() {
        text.push_str(", IPV6_V6ONLY");
    }
    if let [owner] = &holder.owners[..]
        && let Some(command) = &owner.cmdline
    {
        let command = command.join(" ");
        let shown: String = command.chars().take(COMMAND).collect();
        let rest = if shown.len() < command.len() { "..." } else { "" };
        let _ = write!(text, ", running `{shown}{rest}`");
    }
    if let Some(rule) = holder.rule {
        let _ = write!(text, ": {} [{}]", words(rule), rule.as_str());
    }
    if holder.overlap.as_deref() == Some("dual_stack") {
        text.push_str(" (a dual-stack socket takes IPv4 as well as IPv6)");
    }
    text
}

/// The socket, its state, and who has it.
pub(super) fn brief(holder: &HolderReport) -> String {
    briefly(holder, &state(holder))
}

/// The same of one that was refused what it asked for.
pub(super) fn brief_of_refused(holder: &HolderReport) -> String {
    briefly(holder, REFUSED)
}

fn briefly(holder: &HolderReport, state: &str) -> String {
    let mut text = SocketAddr::new(holder.address, holder.port).to_string();
    if holder.protocol == Protocol::Mptcp {
        text.insert_str(0, "mptcp ");
    }
    if let Some(device) = &holder.device {
        let _ = write!(text, " on {device}");
    }
    let _ = write!(text, " {state}, {}", who(holder));
    text
}

fn state(holder: &HolderReport) -> String {
    let word = match &*holder.state {
        "listen" => "listening",
        "time_wait" => "TIME_WAIT",
        "closing" => "closing connection",
        "connected" => "connected",
        _ => "bound",
    };
    match holder.expires_in_seconds {
        // As the remedy has it: a wait that is too short is none.
        Some(left) => format!("{word} for {:.0} s more", left.ceil()),
        None => word.to_owned(),
    }
}

fn who(holder: &HolderReport) -> String {
    let uid = holder.socket_uid.map(|uid| match &holder.user {
        Some(user) => user.to_string(),
        None => format!("uid {uid}"),
    });
    if holder.owners.is_empty() {
        let nobody = match (holder.kernel, holder.inode, &*holder.state) {
            (true, ..) => "the kernel's own",
            (_, 0, "connected") => "not accepted yet",
            (_, 0, _) => "no process",
            _ => "a process that is not known",
        };
        let mut text = nobody.to_owned();
        if !holder.former_owners.is_empty() {
            let _ = write!(text, ", left by {}", owners(&holder.former_owners));
        }
        return uid
            .filter(|_| holder.inode != 0)
            .map_or_else(|| text.clone(), |uid| format!("{text} ({uid})"));
    }
    let text = owners(&holder.owners);
    match uid {
        Some(uid) => format!("{text} ({uid})"),
        None => text,
    }
}

fn owners(owners: &[OwnerReport]) -> String {
    let named: Vec<_> = owners.iter().take(OWNERS).map(owner).collect();
    let mut text = named.join(", ");
    if owners.len() > OWNERS {
        let _ = write!(text, " and {} more", owners.len() - OWNERS);
    }
    text
}

fn owner(OwnerReport { service, executable, pid, .. }: &OwnerReport) -> String {
    if service == executable {
        format!("{executable}[{pid}]")
    } else {
        format!("{service}: {executable}[{pid}]")
    }
}

/// A rule as the reason it is.
pub(super) fn words(rule: Rule) -> &'static str {
    match rule {
        Rule::ReuseportUidMismatch => "both set SO_REUSEPORT, but their users differ",
        Rule::ReuseportProgramAttached => "both set SO_REUSEPORT, but the new socket is in a group already",
        Rule::HolderIsListening => "it listens, which no SO_REUSEADDR shares",
        Rule::Exclusive => "neither it nor the new socket allows sharing",
        Rule::HolderLacksReuseport => "it does not set SO_REUSEPORT, as the new socket does",
        Rule::ContenderLacksReuseport => "it would share by SO_REUSEPORT, which the new socket does not set",
        Rule::HolderLacksReuseaddr => "it does not set SO_REUSEADDR, as the new socket does",
        Rule::ContenderLacksReuseaddr => "it would share by SO_REUSEADDR, which the new socket does not set",
        Rule::HolderIsClosing => "a connection that is being closed",
        Rule::TimeWait => "a closed connection in TIME_WAIT",
        Rule::PrivilegedPort => "the port is privileged",
        Rule::AddressNotLocal => "the address is not this host's",
        Rule::InvalidAddress => "the address does not fit the socket",
        Rule::DeviceGone => "there is no such interface",
        Rule::Unsupported => "this kernel has no such address family",
        other => other.as_str(),
    }
}
