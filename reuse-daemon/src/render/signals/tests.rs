use reuse_model::signal::Kind;
use serde_json::{Value, json};

use super::*;

fn owner(pid: u32, service: &str, executable: &str, uid: u32) -> Value {
    json!({
        "pid": pid, "comm": "x", "executable": executable, "uid": uid, "user": (uid == 0).then_some("root"),
        "service": service, "unit": null, "container": null, "pod": null, "fds": [],
    })
}

fn party(role: &str, uid: u32, inode: u64, selections: Option<u64>, owners: &[Value]) -> Value {
    json!({
        "role": role, "selections": selections, "address": "0.0.0.0", "port": 53, "family": "ipv4",
        "protocol": "udp", "state": "bound", "reuseaddr": true, "reuseport": false, "v6only": false, "device": null,
        "socket_uid": uid, "user": (uid == 0).then_some("root"), "inode": inode, "cookie": 0, "netns": 1,
        "netns_name": "host", "since": null, "expires_in_seconds": null, "kernel": false, "rule": null,
        "overlap": null, "owners": owners,
    })
}

fn record() -> Value {
    json!({
        "schema": 1, "type": "signal", "time": "2026-11-30T08:12:15.123456Z", "boottime_ns": 7,
        "signal": "foreign_uid_share", "severity": "critical", "protocol": "udp", "address": "0.0.0.0", "port": 53,
        "netns": 1, "netns_name": "host",
        "parties": [
            party("victim", 0, 5, Some(3766), &[owner(7, "dns.service", "unbound", 0), owner(8, "dns.service", "unbound", 33)]),
            party("taker", 1000, 6, Some(1234), &[owner(9, "python3", "python3", 1000)]),
        ],
        "since": "2026-11-30T08:12:15.123456Z", "until": null, "found": false,
        "seen": "Both set SO_REUSEADDR.",
    })
}

fn text(record: Value, colored: bool) -> String {
    let record = serde_json::from_value(record).expect("a signal");
    let mut out = String::new();
    signal(&record, &TimeZone::UTC, colored, &mut out);
    out
}

#[test]
fn a_block_says_since_when_who_what_and_what_to_do() {
    assert_eq!(
        text(record(), false),
        "2026-11-30 08:12:15.123456 critical foreign_uid_share at udp 0.0.0.0:53\n    \
         victim: 0.0.0.0:53 bound, dns.service: unbound[7], dns.service: unbound[8] (root), SO_REUSEADDR, no \
         SO_REUSEPORT, inode 5, run by uid 33, took 3,766 of 5,000 selections since\n    \
         taker: 0.0.0.0:53 bound, python3[9] (uid 1000), SO_REUSEADDR, no SO_REUSEPORT, inode 6, took 1,234 of 5,000 \
         selections since\n    \
         Both set SO_REUSEADDR.\n    \
         Stop the one that does not belong there. UDP sockets share whenever all set SO_REUSEADDR, whoever they belong \
         to: a service for unicast does without it, or with SO_REUSEPORT, which keeps other users out.\n"
    );
}

#[test]
fn who_was_refused_is_not_called_bound() {
    let mut joined = record();
    joined["signal"] = json!("join_refused");
    joined["parties"][0]["role"] = json!("holder");
    joined["parties"][1]["role"] = json!("contender");
    let shown = text(joined.clone(), false);
    assert!(shown.contains("\n    holder: 0.0.0.0:53 bound, dns.service"), "{shown}");
    assert!(
        shown.contains("\n    contender: 0.0.0.0:53 refused, python3[9] (uid 1000), SO_REUSEADDR,"),
        "{shown}"
    );
    let record: SignalRecord = serde_json::from_value(joined).expect("a signal");
    let brief: Vec<_> = record.event.parties.iter().map(brief).collect();
    assert_eq!(brief[1], "contender 0.0.0.0:53 refused, python3[9] (uid 1000)");
}

#[test]
fn an_end_and_what_was_there_first_are_told() {
    let mut ended = record();
    (ended["until"], ended["found"]) = (json!("2026-11-30T08:13:00.000001Z"), json!(true));
    ended["netns_name"] = json!("blue");
    let first = text(ended, false).lines().next().map(str::to_owned);
    assert_eq!(
        first.as_deref(),
        Some(
            "2026-11-30 08:12:15.123456 critical foreign_uid_share at udp 0.0.0.0:53 in netns blue, there before the \
             daemon, until 2026-11-30 08:13:00.000001"
        )
    );
}

#[test]
fn the_colour_is_the_severity_s() {
    for (severity, color) in [("critical", RED), ("warning", YELLOW), ("info", "2026")] {
        let mut record = record();
        record["severity"] = json!(severity);
        assert!(text(record, true).starts_with(color), "{severity}");
    }
}

#[test]
fn hostile_names_stay_on_their_line() {
    let mut hostile = record();
    hostile["seen"] = json!("a\u{1b}[2J\u{202e}b\nc");
    hostile["netns_name"] = json!("x\u{202e}y");
    hostile["parties"][0]["device"] = json!("d\u{200b}\n");
    let shown = text(hostile, false);
    assert_eq!(shown.lines().count(), 5, "{shown}");
    let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{200b}');
    assert!(!shown.contains(bad), "{shown:?}");
}

#[test]
fn a_crowd_is_counted_and_selections_that_nobody_counts_are_left_out() {
    let mut crowd = record();
    crowd["parties"] = (0..10).map(|inode| party("member", 0, inode, None, &[])).collect();
    let shown = text(crowd, false);
    assert_eq!(shown.lines().count(), 1 + PARTIES + 1 + 2, "{shown}");
    assert!(shown.contains("\n    and 2 more\n") && !shown.contains("selections"), "{shown}");
}

#[test]
fn there_is_advice_for_each_signal() {
    for kind in Kind::ALL {
        let advice = advice::of(*kind);
        assert!(advice.ends_with('.') && !advice.contains("  "), "{kind:?}: {advice}");
    }
}
