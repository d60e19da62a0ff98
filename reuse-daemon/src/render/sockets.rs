//! `sockets`: a table for people, sorted by port.

use std::{fmt::Write, net::IpAddr};

use reuse_model::report::SocketReport;

use super::{
    event::endpoint,
    plain::plain,
    table::{Align, Table},
};

/// Owners that are named; of more their number.
const OWNERS: usize = 4;

/// The table. The network namespace is a column only where one is not the host's.
#[must_use]
pub fn table(sockets: &[SocketReport]) -> String {
    let mut sorted: Vec<_> = sockets.iter().collect();
    sorted.sort_by_key(|socket| (socket.port, socket.protocol, family_first(socket.address), socket.inode));
    let elsewhere = sorted.iter().any(|socket| &*socket.netns_name != "host");
    let mut columns = vec![
        ("PROTO", Align::Left),
        ("ADDRESS", Align::Left),
        ("STATE", Align::Left),
        ("FLAGS", Align::Left),
        ("QUEUE", Align::Right),
        ("USER", Align::Left),
    ];
    if elsewhere {
        columns.push(("NETNS", Align::Left));
    }
    columns.push(("OWNERS", Align::Left));
    let mut table = Table::new(&columns);
    for socket in sorted {
        let mut row = vec![
            socket.protocol.as_str().to_owned(),
            endpoint(socket.address, socket.port).to_string(),
            socket.state.to_string(),
            flags(socket),
            queue(socket),
            user(socket),
        ];
        if elsewhere {
            row.push(plain(&socket.netns_name).into_owned());
        }
        row.push(owners(socket));
        table.row(row);
    }
    table.text()
}

/// IPv4 before IPv6, the wildcard before the rest.
fn family_first(address: IpAddr) -> (bool, IpAddr) {
    (address.is_ipv6(), address)
}

fn flags(socket: &SocketReport) -> String {
    let set = [(socket.reuseaddr, "RA"), (socket.reuseport, "RP"), (socket.v6only, "v6only")];
    let mut words: Vec<_> =
        set.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()).collect();
    words.extend(socket.device.as_ref().map(|device| format!("%{}", plain(device))));
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn queue(socket: &SocketReport) -> String {
    match socket.queue_limit {
        Some(limit) => format!("{}/{limit}", socket.queue),
        None => "-".to_owned(),
    }
}

fn user(socket: &SocketReport) -> String {
    match (&socket.user, socket.socket_uid) {
        (Some(name), _) => plain(name).into_owned(),
        (None, Some(uid)) => uid.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn owners(socket: &SocketReport) -> String {
    if socket.owners.is_empty() {
        return if socket.kernel { "the kernel" } else { "none known" }.to_owned();
    }
    let mut text = String::new();
    let mut before = "";
    for owner in socket.owners.iter().take(OWNERS) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{before}{}[{}]", plain(&owner.comm), owner.pid);
        before = ", ";
    }
    if socket.owners.len() > OWNERS {
        let _ = write!(text, " and {} more", socket.owners.len() - OWNERS);
    }
    text
}
