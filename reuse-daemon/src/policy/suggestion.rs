//! A policy that expects what is active now.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt::Write, ops::Not as _};

use reuse_model::{
    endpoint::Transport,
    report::{OwnerReport, SignalEvent},
    signal::Severity,
};

/// What stands above everything.
const PREFACE: &str = "\
# What is active now, as a policy that expects it. Look at each: what is not meant is to be ended, not expected.
# An executable's name can be anyone's choice, a uid cannot; a table without port or address fits more than was seen.
";

/// The policy as text of the configuration file: one table for each signal above info, and one that is commented out
/// for each other.
#[must_use]
pub fn policy<'a>(signals: impl IntoIterator<Item = &'a SignalEvent>) -> String {
    // Signals that one table fits, below it.
    let mut tables: BTreeMap<String, Vec<&SignalEvent>> = BTreeMap::new();
    for event in signals {
        tables.entry(table(event)).or_default().push(event);
    }
    let mut text = String::new();
    for (table, events) in &tables {
        text.push('\n');
        for event in events {
            let words = format!("{} since {}: {}", event.severity.as_str(), event.since, event.seen);
            // A comment ends with its line, whatever stands in it.
            let _ = writeln!(text, "# {}", words.replace(|character: char| character.is_control(), " "));
        }
        let useful = events.iter().any(|event| event.severity > Severity::Info);
        for line in table.lines() {
            text.extend([if useful { "" } else { "# " }, line, "\n"]);
        }
    }
    if text.is_empty() { text } else { PREFACE.to_owned() + &text }
}

/// The table that fits a signal and no more than it needs to.
fn table(event: &SignalEvent) -> String {
    let mut text = "[[policy.expect]]\n".to_owned();
    let protocol = event.protocol.transport().map(Transport::as_str);
    let _ = writeln!(text, "signal = {}", quoted(event.signal.as_str()));
    if let Some(protocol) = protocol {
        let _ = writeln!(text, "protocol = {}", quoted(protocol));
    }
    let _ = writeln!(text, "address = {}", quoted(&event.address.to_string()));
    let _ = writeln!(text, "port = {}", event.port);
    let _ = writeln!(text, "netns = {}", quoted(&event.netns_name));
    // Where it is not known who has a socket, no name would fit it.
    if event.parties.iter().any(|party| party.socket.owners.is_empty()).not() {
        let owners = || event.parties.iter().flat_map(|party| &party.socket.owners);
        push_names("services", owners().map(|owner: &OwnerReport| &*owner.service), &mut text);
        push_names("executables", owners().map(|owner| &*owner.executable), &mut text);
    }
    let mut uids: Vec<_> = event.parties.iter().filter_map(|party| party.socket.socket_uid).collect();
    uids.sort_unstable();
    uids.dedup();
    if !uids.is_empty() {
        let _ = writeln!(text, "uids = {uids:?}");
    }
    text
}

fn push_names<'a>(key: &str, names: impl Iterator<Item = &'a str>, text: &mut String) {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        let names: Vec<_> = names.into_iter().map(quoted).collect();
        let _ = writeln!(text, "{key} = [{}]", names.join(", "));
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
