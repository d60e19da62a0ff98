//! `signals`: each signal with its parties, what was seen, and what to do.

mod advice;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use jiff::tz::TimeZone;
use reuse_model::{
    report::{PartyReport, SignalEvent, SignalRecord},
    signal::Severity,
};

use super::{
    event::{RED, RESET, YELLOW, endpoint, time},
    holder,
    numbers::grouped,
    plain::plain,
};

/// Parties that are shown; of more their number.
const PARTIES: usize = 8;

/// Appends the lines of one signal. `zone`: whose clock the reader looks at.
pub fn signal(record: &SignalRecord, zone: &TimeZone, colored: bool, out: &mut String) {
    let event = &record.event;
    let mut first = String::new();
    time(&event.since, zone, &mut first);
    first.push_str(&plain(&headline(event)));
    if event.found {
        first.push_str(", there before the daemon");
    }
    if let Some(until) = &event.until {
        first.push_str(", until ");
        time(until, zone, &mut first);
        first.truncate(first.trim_end().len());
    }
    match color(event.severity).filter(|_| colored) {
        Some(color) => out.extend([color, &first, RESET, "\n"]),
        None => out.extend([&first, "\n"]),
    }
    let selected = event.parties.iter().filter_map(|party| party.selections).sum();
    for party in event.parties.iter().take(PARTIES) {
        out.extend(["    ", &plain(&self::party(party, selected)), "\n"]);
    }
    if event.parties.len() > PARTIES {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    and {} more", event.parties.len() - PARTIES);
    }
    out.extend(["    ", &plain(&event.seen), "\n    ", advice::of(event.signal), "\n"]);
}

/// The colour of a severity.
pub(super) fn color(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Critical => Some(RED),
        Severity::Warning => Some(YELLOW),
        Severity::Info => None,
    }
}

/// Which signal, how grave, and where.
pub(super) fn headline(event: &SignalEvent) -> String {
    let (severity, signal, protocol) =
        (event.severity.as_str(), event.signal.as_str(), event.protocol.as_str());
    let mut text = format!("{severity} {signal} at {protocol} {}", endpoint(event.address, event.port));
    if &*event.netns_name != "host" {
        let _ = write!(text, " in netns {}", event.netns_name);
    }
    text
}

/// A party in a few words.
pub(super) fn brief(PartyReport { role, socket, .. }: &PartyReport) -> String {
    let socket = if has_nothing(role) { holder::brief_of_refused(socket) } else { holder::brief(socket) };
    format!("{role} {socket}")
}

/// Whether a party of that role asked in vain: its address is the one that it asked for.
fn has_nothing(role: &str) -> bool {
    role == "contender"
}

/// A party, and what it got of everything that was `selected` since the signal began.
fn party(party: &PartyReport, selected: u64) -> String {
    let PartyReport { role, selections, socket } = party;
    let line = if has_nothing(role) { holder::line_of_refused(socket) } else { holder::line(socket) };
    let mut text = format!("{role}: {line}, inode {}", socket.inode);
    let mut users: Vec<_> =
        socket.owners.iter().filter(|owner| Some(owner.uid) != socket.socket_uid).collect();
    users.sort_by_key(|owner| owner.uid);
    users.dedup_by_key(|owner| owner.uid);
    let mut before = ", run by ";
    for owner in users {
        let _ = match &owner.user {
            Some(user) => write!(text, "{before}{user}"),
            None => write!(text, "{before}uid {}", owner.uid),
        };
        before = " and ";
    }
    if let Some(taken) = selections {
        let _ = write!(text, ", took {} of {} selections since", grouped(*taken), grouped(selected));
    }
    text
}
