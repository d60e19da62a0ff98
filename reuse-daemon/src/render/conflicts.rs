//! `conflicts`: each refusal as the answer, the holders, the remedy.

use std::fmt::Write;

use jiff::tz::TimeZone;
use reuse_model::{
    refusal::Confidence,
    report::{ConflictEvent, ConflictRecord},
};

use super::{
    event::{RED, RESET, refused, time},
    holder,
    plain::plain,
};

/// Holders that are shown; of more their number.
const HOLDERS: usize = 8;

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
        out.extend(["    held by ", &plain(&holder::line(holder)), "\n"]);
    }
    if event.holders.len() > HOLDERS {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    and {} more", event.holders.len() - HOLDERS);
    }
    out.extend(["    ", &plain(&event.remedy), "\n"]);
}

fn answer(event: &ConflictEvent) -> String {
    let mut text = refused(event);
    let _ = write!(text, ": {}, {}", event.result, event.rule.as_str());
    if event.confidence == Confidence::BestEvidence {
        text.push_str(" (best evidence)");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn owner(comm: &str, pid: u32, service: &str) -> Value {
        json!({
            "pid": pid, "comm": comm, "executable": "nginx", "uid": 0, "user": "root", "service": service,
            "unit": null, "container": null, "pod": null, "fds": [],
        })
    }

    fn holder() -> Value {
        json!({
            "address": "127.0.0.1", "port": 80, "family": "ipv4", "protocol": "tcp", "state": "listen",
            "reuseaddr": true, "reuseport": false, "v6only": false, "device": null, "socket_uid": 0, "user": "root",
            "inode": 5, "cookie": 0, "netns": 1, "netns_name": "host", "since": null, "expires_in_seconds": null,
            "kernel": false, "rule": "holder_is_listening", "overlap": "wildcard_contender",
            "owners": [owner("nginx", 7, "web.service")],
        })
    }

    fn text(holders: &Value, confidence: &str) -> String {
        let record = json!({
            "schema": 1, "type": "conflict", "time": "2026-11-24T08:12:15.123456Z", "boottime_ns": 7,
            "contender": {
                "pid": 12, "tid": 12, "comm": "b\u{202e}d", "executable": "python3", "service": "python3", "uid": 33,
                "cgroup_id": 1, "socket_uid": 33, "netns": 1, "netns_name": "host", "inode": 6, "cookie": 0,
                "protocol": "tcp", "family": "ipv4", "address": "0.0.0.0", "port": 80, "bound_port": 0,
                "reuseaddr": true, "reuseport": false, "v6only": false, "freebind": false, "transparent": false,
                "bind_address_no_port": false, "device": null, "via": "syscall",
            },
            "phase": "bind", "result": "EADDRINUSE", "repeated": 1, "rule": "holder_is_listening",
            "holders": holders, "decided_by": null, "confidence": confidence, "truncated": false,
            "remedy": "Stop nginx.",
        });
        let record = serde_json::from_value(record).expect("a conflict");
        let mut out = String::new();
        refusal(&record, &TimeZone::UTC, false, &mut out);
        out
    }

    #[test]
    fn answer_holder_and_remedy_each_have_a_line() {
        assert_eq!(
            text(&json!([holder()]), "exact"),
            "2026-11-24 08:12:15.123456 b\\xe2\\x80\\xaed[12] (uid 33) cannot bind tcp 0.0.0.0:80, with SO_REUSEADDR: \
             EADDRINUSE, holder_is_listening\n    \
             held by 127.0.0.1:80 listening, web.service: nginx[7] (root), SO_REUSEADDR, no SO_REUSEPORT: \
             it listens, which no SO_REUSEADDR shares [holder_is_listening]\n    \
             Stop nginx.\n"
        );
    }

    #[test]
    fn a_holder_without_a_process_says_what_it_is() {
        let mut rest = holder();
        rest["owners"] = json!([]);
        rest["state"] = json!("time_wait");
        rest["expires_in_seconds"] = json!(41.4);
        let shown = text(&json!([rest]), "best_evidence");
        assert!(shown.contains("holder_is_listening (best evidence)\n"), "{shown}");
        rest["inode"] = json!(0);
        assert!(shown.contains("TIME_WAIT for 42 s more, a process that is not known (root)"), "{shown}");
        let shown = text(&json!([rest]), "exact");
        assert!(shown.contains("TIME_WAIT for 42 s more, no process, SO_REUSEADDR"), "{shown}");
        rest["former_owners"] = json!([owner("nginx", 7, "nginx")]);
        let shown = text(&json!([rest]), "exact");
        assert!(shown.contains("no process, left by nginx[7], SO_REUSEADDR"), "{shown}");
        rest["former_owners"] = json!([]);
        rest["kernel"] = json!(true);
        assert!(text(&json!([rest]), "exact").contains("the kernel's own"));
    }

    #[test]
    fn many_holders_and_owners_are_counted() {
        let mut crowded = holder();
        crowded["owners"] = (1..=6).map(|pid| owner("nginx", pid, "nginx")).collect();
        let shown = text(&Value::Array(vec![crowded; 10]), "exact");
        assert_eq!(shown.lines().count(), 1 + HOLDERS + 2, "{shown}");
        assert!(
            shown.contains("nginx[4] and 2 more (root), SO_REUSEADDR")
                && shown.contains("\n    and 2 more\n"),
            "{shown}"
        );
    }
}
