//! Picking the events of one socket, thread or process out of the host's.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{attempts::Tally, sockets};

/// Kernel thread id of the calling thread, as events carry it.
#[must_use]
pub fn thread_id() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// Whether a call of this thread made the event.
#[must_use]
pub fn by_thread(event: &Value, tid: i32) -> bool {
    event["contender"]["tid"] == tid
}

/// Whether the event is about this socket.
#[must_use]
pub fn of_inode(event: &Value, inode: u64) -> bool {
    event["contender"]["inode"] == inode
}

/// The keys of a JSON object, empty for anything else.
#[must_use]
pub fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// Bind calls that processes other than this one made, by their events. On a host that runs nothing else it is empty;
/// subtracting it keeps exact comparisons exact on one that does.
#[must_use]
pub fn foreign_binds(events: &[Value]) -> Tally {
    let own = std::process::id();
    let mut tally = Tally::default();
    for event in events.iter().filter(|event| event["contender"]["pid"] != own) {
        let kind = event["type"].as_str().unwrap_or_default();
        if event["phase"] == "bind" && (kind == "bind" || kind == "conflict") {
            let text = |key: &str| event["contender"][key].as_str().unwrap_or_default().to_owned();
            let result = event["result"].as_str().unwrap_or_default();
            tally.add(&text("family"), &text("protocol"), result, event["repeated"].as_u64().unwrap_or(1));
        }
    }
    tally
}

/// What an event must say about the socket that asked, besides who asked: one field a pair.
///
/// # Panics
/// When a field differs; the message carries the whole event.
#[track_caller]
pub fn assert_contender(event: &Value, expected: &Value) {
    let fields = expected.as_object().expect("expected is an object");
    for (key, wanted) in fields {
        let have = &event["contender"][key];
        assert_eq!(have, wanted, "contender.{key} in {event}");
    }
}

/// The fields every event of `socket` must carry, whatever the test is about.
///
/// # Panics
/// When a field differs, or the socket cannot be asked.
#[track_caller]
pub fn assert_identity(event: &Value, socket: &socket2::Socket) {
    let inode = sockets::inode(socket).expect("fstat on an open socket");
    let expected = serde_json::json!({ "pid": std::process::id(), "inode": inode, "via": "syscall" });
    assert_contender(event, &expected);
}
