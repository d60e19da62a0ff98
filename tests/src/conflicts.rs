//! Refused calls as the daemon tells them: the event with its holders and their owners, and the counters beside it.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use socket2::{SockAddr, Socket};

use crate::{
    actor::Actor,
    daemon::Daemon,
    deadline::{self, PROMPT},
    events::{self, assert_fields},
    sockets::result_name,
};

/// Binds in this thread what the kernel must refuse with EADDRINUSE: the event.
///
/// # Errors
/// When no event comes.
///
/// # Panics
/// When the kernel does not refuse, or the event does not carry what each such event does.
#[track_caller]
pub fn bind(daemon: &Daemon, socket: &Socket, address: SocketAddr) -> Result<Value> {
    assert_eq!(result_name(&socket.bind(&SockAddr::from(address))), "EADDRINUSE", "bind {address}");
    let event = events::wait_for(daemon, socket, "conflict", "bind")?;
    assert_told(&event);
    assert_fields(
        &event["contender"],
        &json!({ "address": address.ip().to_string(), "port": address.port(), "bound_port": 0 }),
    );
    Ok(event)
}

/// Listens in this thread where the kernel must refuse it with EADDRINUSE: the event.
///
/// # Errors
/// When no event comes.
///
/// # Panics
/// As [`bind`].
#[track_caller]
pub fn listen(daemon: &Daemon, socket: &Socket) -> Result<Value> {
    assert_eq!(result_name(&socket.listen(1)), "EADDRINUSE", "listen");
    let event = events::wait_for(daemon, socket, "conflict", "listen")?;
    assert_told(&event);
    Ok(event)
}

#[track_caller]
fn assert_told(event: &Value) {
    assert_fields(event, &json!({ "result": "EADDRINUSE", "repeated": 1 }));
    assert_fields(&event["contender"], &json!({ "pid": std::process::id(), "tid": events::thread_id() }));
    assert!(event["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "no remedy: {event}");
}

/// Checks rule and remedy of a refusal that is explained exactly and whole.
///
/// # Panics
/// When something differs, or the remedy does not contain each of `remedy`.
#[track_caller]
pub fn assert_exact(event: &Value, rule: &str, remedy: &[&str]) {
    assert_fields(event, &json!({ "rule": rule, "confidence": "exact", "truncated": false }));
    assert_remedy(event, remedy);
}

/// Checks that the remedy contains each of `parts`.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn assert_remedy(event: &Value, parts: &[&str]) {
    let said = event["remedy"].as_str().unwrap_or_default();
    for part in parts {
        assert!(said.contains(part), "the remedy lacks {part:?}: {event}");
    }
}

/// The holders of a refusal.
///
/// # Panics
/// When the event has no such list.
#[must_use]
#[track_caller]
pub fn holders(event: &Value) -> &[Value] {
    event["holders"].as_array().unwrap_or_else(|| panic!("no holders in {event}"))
}

/// The one holder of a refusal of TCP, where nobody decides alone.
///
/// # Panics
/// When there is another number of them.
#[must_use]
#[track_caller]
pub fn only_holder(event: &Value) -> &Value {
    assert_eq!(event["decided_by"], Value::Null, "{event}");
    let [holder] = holders(event) else { panic!("not one holder: {event}") };
    holder
}

/// Checks that exactly these processes have the holder open, by pid, name and executable.
///
/// # Errors
/// When `/proc` does not say what they run.
///
/// # Panics
/// When the holder says otherwise.
#[track_caller]
pub fn assert_owners(holder: &Value, actors: &[&Actor]) -> Result<()> {
    let expected =
        actors.iter().map(|actor| Ok((u64::from(actor.pid()), actor.comm().to_owned(), actor.executable()?)));
    assert_eq!(people(&holder["owners"]), expected.collect::<Result<_>>()?, "owners in {holder}");
    Ok(())
}

/// Checks a holder that no process has: who had it is told, and nothing is said of a descriptor.
///
/// # Errors
/// When `/proc` does not say what they run.
///
/// # Panics
/// When the holder says otherwise.
#[track_caller]
pub fn assert_former_owners(holder: &Value, actors: &[&Actor]) -> Result<()> {
    assert_fields(holder, &json!({ "inode": 0, "owners": [], "kernel": false }));
    let expected =
        actors.iter().map(|actor| Ok((u64::from(actor.pid()), actor.comm().to_owned(), actor.executable()?)));
    assert_eq!(
        people(&holder["former_owners"]),
        expected.collect::<Result<_>>()?,
        "former owners in {holder}"
    );
    Ok(())
}

/// Pid, name and executable of each of a list of owners.
#[must_use]
pub fn people(owners: &Value) -> BTreeSet<(u64, String, String)> {
    let text = |owner: &Value, key: &str| owner[key].as_str().unwrap_or_default().to_owned();
    let owners = owners.as_array().map(Vec::as_slice).unwrap_or_default();
    owners
        .iter()
        .map(|owner| (owner["pid"].as_u64().unwrap_or(0), text(owner, "comm"), text(owner, "executable")))
        .collect()
}

/// Checks that the refusal is counted under its contender's service and this holder's, and with all that the daemon has told
/// of the same port so far as often as it was told: a port that the kernel chose may come again.
///
/// # Errors
/// When it is not within the usual time.
pub fn assert_counted(daemon: &Daemon, event: &Value, holder: &str) -> Result<()> {
    let contender = &event["contender"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let [protocol, address, rule, service] =
        [&contender["protocol"], &contender["address"], &event["rule"], &contender["service"]].map(text);
    let port = if contender["port"] == 0 { "ephemeral".to_owned() } else { text(&contender["port"]) };
    let labels = [
        ("protocol", protocol.as_str()),
        ("address", address.as_str()),
        ("port", port.as_str()),
        ("rule", rule.as_str()),
        ("contender", service.as_str()),
        ("holder", holder),
    ];
    let is_alike = |other: &Value| {
        let same = |key: &str| other["contender"][key] == contender[key];
        other["type"] == "conflict"
            && other["rule"] == event["rule"]
            && ["protocol", "address", "port", "service"].into_iter().all(same)
    };
    let mut counted = Vec::new();
    let outcome = deadline::until("the conflict is counted", PROMPT, || {
        let events = daemon.events_since_start()?;
        let alike = events.iter().filter(|event| is_alike(event));
        let told: u64 = alike.map(|event| event["repeated"].as_u64().unwrap_or(1)).sum();
        let metrics = daemon.metrics()?;
        counted = metrics
            .series("reuse_port_conflicts_total", &labels[..3])
            .map(|(labels, value)| format!("{labels:?} {value}"))
            .collect();
        let is_counted = metrics.count("reuse_port_conflicts_total", &labels) >= 1
            && metrics.count("reuse_port_conflicts_total", &labels[..5]) == told
            && metrics.sum("reuse_port_conflict_last_timestamp_seconds", &labels).is_some_and(|at| at > 0.0);
        Ok(is_counted.then_some(()))
    });
    outcome.with_context(|| format!("wanted {labels:?}, counted {counted:#?}"))
}
