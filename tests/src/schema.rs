//! The keys of the objects that several answers share, as the interface names them.

use std::collections::BTreeSet;

/// What a socket and a holder have in common.
const SOCKET: [&str; 19] = [
    "address",
    "port",
    "family",
    "protocol",
    "state",
    "reuseaddr",
    "reuseport",
    "v6only",
    "device",
    "socket_uid",
    "user",
    "inode",
    "cookie",
    "netns",
    "netns_name",
    "since",
    "expires_in_seconds",
    "kernel",
    "owners",
];
const SIGNAL: [&str; 16] = [
    "schema",
    "type",
    "time",
    "boottime_ns",
    "signal",
    "severity",
    "protocol",
    "address",
    "port",
    "netns",
    "netns_name",
    "parties",
    "since",
    "until",
    "found",
    "seen",
];
const OWNER: [&str; 10] =
    ["pid", "comm", "executable", "uid", "user", "service", "unit", "container", "pod", "fds"];

/// Of a socket in a list of sockets.
#[must_use]
pub fn socket() -> BTreeSet<&'static str> {
    SOCKET.into_iter().chain(["queue", "queue_limit"]).collect()
}

/// Of a holder that a process has.
#[must_use]
pub fn holder() -> BTreeSet<&'static str> {
    SOCKET.into_iter().chain(["rule", "overlap"]).collect()
}

/// Of a signal.
#[must_use]
pub fn signal() -> BTreeSet<&'static str> {
    SIGNAL.into()
}

/// Of a party to a signal.
#[must_use]
pub fn party() -> BTreeSet<&'static str> {
    holder().into_iter().chain(["role", "selections"]).collect()
}

/// Of an owner over the network, and in events: without path and command line.
#[must_use]
pub fn owner() -> BTreeSet<&'static str> {
    OWNER.into()
}

/// Of an owner on the local socket, and from commands.
#[must_use]
pub fn owner_in_full() -> BTreeSet<&'static str> {
    OWNER.into_iter().chain(["exe", "cmdline"]).collect()
}
