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

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, sync::Arc};

    use reuse_model::{
        endpoint::{Family, Protocol},
        report::OwnerReport,
    };

    use super::*;

    fn owner(comm: &str, pid: u32) -> OwnerReport {
        OwnerReport {
            pid,
            comm: comm.to_owned(),
            executable: Arc::from("srv"),
            exe: None,
            cmdline: None,
            uid: 0,
            user: None,
            service: Arc::from("srv"),
            unit: None,
            container: None,
            pod: None,
            fds: Vec::new(),
        }
    }

    fn listener(address: &str, port: u16, owners: Vec<OwnerReport>) -> SocketReport {
        SocketReport {
            address: address.parse().expect("an address"),
            port,
            family: Family::Ipv4,
            protocol: Protocol::Tcp,
            state: Cow::Borrowed("listen"),
            reuseaddr: true,
            reuseport: false,
            v6only: false,
            device: None,
            socket_uid: Some(33),
            user: None,
            inode: 1,
            cookie: 0,
            netns: 1,
            netns_name: Arc::from("host"),
            since: None,
            expires_in_seconds: None,
            kernel: false,
            owners,
            queue: 3,
            queue_limit: Some(128),
        }
    }

    #[test]
    fn sorted_by_port_with_a_namespace_only_where_there_is_another() {
        let web = listener("0.0.0.0", 80, vec![owner("nginx", 7), owner("nginx", 8)]);
        let dns = SocketReport {
            protocol: Protocol::Udp,
            state: Cow::Borrowed("bound"),
            reuseaddr: false,
            v6only: true,
            device: Some(Arc::from("eth0")),
            user: Some(Arc::from("bind")),
            queue_limit: None,
            ..listener("::", 53, Vec::new())
        };
        assert_eq!(
            table(&[web.clone(), dns.clone()]),
            "PROTO  ADDRESS     STATE   FLAGS         QUEUE  USER  OWNERS\n\
             udp    [::]:53     bound   v6only %eth0      -  bind  none known\n\
             tcp    0.0.0.0:80  listen  RA            3/128  33    nginx[7], nginx[8]\n"
        );
        let inside = SocketReport { netns_name: Arc::from("blue"), ..web };
        let both = table(&[inside, dns]);
        assert!(both.contains("USER  NETNS  OWNERS\n") && both.contains("  blue   nginx[7]"), "{both}");
    }

    #[test]
    fn many_owners_are_counted_and_hostile_names_stay_in_their_cell() {
        let owners = (1..=6).map(|pid| owner("a\u{202e}\n", pid)).collect();
        let shown = table(&[listener("0.0.0.0", 80, owners)]);
        assert_eq!(shown.lines().count(), 2, "{shown:?}");
        assert!(shown.ends_with("a\\xe2\\x80\\xae\\x0a[4] and 2 more\n"), "{shown:?}");
    }
}
