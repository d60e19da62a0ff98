//! `conflicts`: each refusal as the answer, the holders, the remedy.

use std::fmt::Write;

use jiff::tz::TimeZone;
use reuse_model::{
    refusal::{Confidence, RefusedPhase},
    report::{ConflictEvent, ConflictRecord, HolderReport, OwnerReport},
};

use super::{
    event::{RED, RESET, endpoint, push_netns, push_options, push_place, time, what, who},
    plain::plain,
};

/// Holders that are shown; of more their number.
const HOLDERS: usize = 8;
/// Owners of a holder that are named; of more their number.
const OWNERS: usize = 4;

/// Appends the lines of one refusal. `zone`: whose clock the reader looks at.
pub fn refusal(record: &ConflictRecord, zone: &TimeZone, colored: bool, out: &mut String) {
    let event = &record.event;
    let mut first = String::new();
    time(&record.time, zone, &mut first);
    first.push_str(&plain(&answer(event)));
    match colored {
        true => out.extend([RED, &first, RESET, "\n"]),
        false => out.extend([&first, "\n"]),
    }
    for holder in event.holders.iter().take(HOLDERS) {
        out.extend(["    held by ", &plain(&held_by(holder)), "\n"]);
    }
    if event.holders.len() > HOLDERS {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    and {} more", event.holders.len() - HOLDERS);
    }
    out.extend(["    ", &plain(&event.remedy), "\n"]);
}

fn answer(event: &ConflictEvent) -> String {
    let contender = &event.contender;
    let verb = match event.phase {
        RefusedPhase::Bind => "bind",
        RefusedPhase::Listen => "listen on",
        RefusedPhase::Autobind => "get a port to listen on for",
    };
    let mut text = format!("{} cannot {verb} {}", who(contender), what(contender));
    push_place(contender, &mut text);
    push_options(contender, &mut text);
    let _ = write!(text, ": {}, {}", event.result, event.rule.as_str());
    if event.confidence == Confidence::BestEvidence {
        text.push_str(" (best evidence)");
    }
    text
}

fn held_by(holder: &HolderReport) -> String {
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
    if let Some(rule) = holder.rule {
        let _ = write!(text, ": {}, {}", rule.as_str(), holder.overlap.replace('_', " "));
    }
    if let Some(seconds) = holder.expires_in_seconds {
        let _ = write!(text, ", gone in {seconds:.0} s");
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
