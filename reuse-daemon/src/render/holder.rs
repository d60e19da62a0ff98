//! One holder in words.

use std::fmt::Write;

use reuse_model::report::{ConflictEvent, HolderReport, OwnerReport};

use super::event::{endpoint, push_netns};

/// Owners of a holder that are named; of more their number.
const OWNERS: usize = 4;

/// The holder to name where there is room for one: the one that decided, or the first that the event's rule is about.
pub(super) fn principal(event: &ConflictEvent) -> Option<&HolderReport> {
    event.holders.iter().find(|holder| holder.rule == Some(event.rule)).or(event.holders.first())
}

/// The socket, who has it, its options, and why it is in the way.
pub(super) fn line(holder: &HolderReport) -> String {
    let mut text = brief(holder);
    if let Some(rule) = holder.rule {
        let _ = write!(text, ": {}, {}", rule.as_str(), holder.overlap.replace('_', " "));
    }
    if let Some(seconds) = holder.expires_in_seconds {
        let _ = write!(text, ", gone in {seconds:.0} s");
    }
    text
}

/// The socket, who has it, and its options.
pub(super) fn brief(holder: &HolderReport) -> String {
    let state = match &*holder.state {
        "time_wait" => "TIME_WAIT",
        state => state,
    };
    let address = endpoint(holder.address, holder.port);
    let mut text = format!("{} {address} ({state})", holder.protocol.as_str());
    if let Some(device) = &holder.device {
        let _ = write!(text, " on {device}");
    }
    push_netns(&holder.netns_name, &mut text);
    push_owners(holder, &mut text);
    let options = [
        (holder.reuseaddr, "SO_REUSEADDR"),
        (holder.reuseport, "SO_REUSEPORT"),
        (holder.v6only, "IPV6_V6ONLY"),
    ];
    let mut before = ", with ";
    for (_, name) in options.iter().filter(|(set, _)| *set == Some(true)) {
        text.extend([before, name]);
        before = " and ";
    }
    text
}

fn push_owners(holder: &HolderReport, text: &mut String) {
    let (owners, before) = match (&holder.owners[..], &holder.former_owners[..]) {
        ([], []) if holder.kernel => return text.push_str(", the kernel's own"),
        ([], []) => return text.push_str(", open in no process"),
        ([], former) => (former, ", left by "),
        (owners, _) => (owners, " of "),
    };
    text.push_str(before);
    let named: Vec<_> = owners.iter().take(OWNERS).map(owner).collect();
    text.push_str(&named.join(", "));
    if owners.len() > OWNERS {
        let _ = write!(text, " and {} more", owners.len() - OWNERS);
    }
}

fn owner(owner: &OwnerReport) -> String {
    let OwnerReport { comm, pid, uid, service, executable, .. } = owner;
    if service == executable {
        format!("{comm}[{pid}] (uid {uid})")
    } else {
        format!("{comm}[{pid}] ({service}, uid {uid})")
    }
}
