//! Picking the events of one socket, thread or process out of the host's.

use std::{borrow::Borrow, collections::BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};
use socket2::Socket;

use crate::{attempts::Tally, daemon::Daemon, sockets};

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
pub fn foreign_binds(events: &[impl Borrow<Value>]) -> Tally {
    let own = std::process::id();
    let mut tally = Tally::default();
    let events = events.iter().map(Borrow::borrow);
    for event in events.filter(|event: &&Value| event["contender"]["pid"] != own) {
        let kind = event["type"].as_str().unwrap_or_default();
        if event["phase"] == "bind" && (kind == "bind" || kind == "conflict") {
            let text = |key: &str| event["contender"][key].as_str().unwrap_or_default().to_owned();
            let result = event["result"].as_str().unwrap_or_default();
            tally.add(&text("family"), &text("protocol"), result, event["repeated"].as_u64().unwrap_or(1));
        }
    }
    tally
}

/// Waits for the event of a bind or listen of `socket` by this process.
///
/// # Errors
/// When none comes.
pub fn wait_for(daemon: &Daemon, socket: &Socket, kind: &str, phase: &str) -> Result<Value> {
    let inode = sockets::inode(socket)?;
    daemon.wait_event(&format!("a {kind} event of phase {phase} for inode {inode}"), |event| {
        of_inode(event, inode) && event["type"] == kind && event["phase"] == phase
    })
}

/// Checks that a JSON object carries these fields with these values, whatever else it carries.
///
/// # Panics
/// When a field differs; the message carries the whole object.
#[track_caller]
pub fn assert_fields(object: &Value, expected: &Value) {
    let fields = expected.as_object().expect("expected is an object");
    for (key, wanted) in fields {
        assert_eq!(&object[key], wanted, "{key} in {object}");
    }
}

/// The flags of a socket as getsockopt reads them now, under the names events give them; without those that this kernel
/// does not tell of such a socket.
///
/// # Errors
/// The kernel's.
pub fn flags(socket: &Socket) -> Result<Value> {
    let ipv4 = sockets::local_address(socket)?.is_ipv4();
    let (ip, freebind, transparent) = if ipv4 {
        (libc::IPPROTO_IP, libc::IP_FREEBIND, libc::IP_TRANSPARENT)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, libc::IPV6_TRANSPARENT)
    };
    let device = socket.device()?.map(|name| String::from_utf8_lossy(&name).into_owned());
    let mut shown = json!({
        "reuseaddr": sockets::is_set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)?,
        "reuseport": sockets::is_set(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT)?,
        "device": device,
    });
    let options = [
        ("v6only", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        ("freebind", ip, freebind),
        ("transparent", ip, transparent),
        ("bind_address_no_port", libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
    ];
    for (name, level, option) in options {
        let set = if ipv4 && name == "v6only" { Ok(false) } else { sockets::is_set(socket, level, option) };
        match set {
            // Linux 6.1 does not tell these of an MPTCP socket (net/mptcp/sockopt.c, `mptcp_getsockopt_v4`).
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            set => shown[name] = set?.into(),
        }
    }
    Ok(shown)
}
