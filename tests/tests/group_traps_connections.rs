//! Connections that wake more than one listener, or one before they are whole: each is one selection, of the listener that
//! it was made at.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    generator::Group,
    group_members::selections,
    groups,
    namespace::Namespace,
    skip,
    sockets::{self, Transport},
};
use socket2::{SockAddr, Socket};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MEMBERS: usize = 3;
const CONNECTIONS: usize = 45;

/// Sets a sysctl of the calling thread's namespace.
fn set(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/{name}");
    fs::write(&path, value).context(path)
}

fn connect(address: SocketAddr) -> Result<Socket> {
    let client = sockets::open(Transport::Tcp, address.ip())?;
    client.connect(&SockAddr::from(address)).with_context(|| format!("connecting to {address}"))?;
    Ok(client)
}

/// Accepts from all members until there are `count` connections in all.
fn accept(members: &[Socket], count: usize) -> Result<Vec<u64>> {
    let mut accepted = vec![0; members.len()];
    deadline::until("every connection", PROMPT, || {
        for (member, accepted) in members.iter().zip(&mut accepted) {
            while member.accept().is_ok() {
                *accepted += 1;
            }
        }
        Ok((accepted.iter().sum::<u64>() == count as u64).then_some(()))
    })?;
    Ok(accepted)
}

/// Selections of all slots of a group, also of those whose socket is gone.
fn in_all(daemon: &Daemon, group: &Group) -> Result<f64> {
    let shown = groups::of_inode(daemon, group.inode()?)?;
    let (port, netns) = (shown["port"].to_string(), shown["netns_name"].as_str().context("netns_name")?);
    let labels = [("port", port.as_str()), ("netns", netns)];
    let sum = daemon.metrics()?.sum("reuse_group_selections_total", &labels);
    sum.with_context(|| format!("no selections with {labels:?}"))
}

/// A listener closes with connections waiting, which go to the others of its group: that is no second selection.
#[test]
fn connections_that_are_handed_on_are_selected_once() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("migrate")?;
    let daemon = launch.start()?;
    let (mut group, waiting) = namespace.run(|| {
        set("tcp_migrate_req", "1")?;
        let group = Group::open(Transport::Tcp, LOOPBACK, MEMBERS)?;
        let waiting = connect_many(&group)?;
        Ok((group, waiting))
    })?;
    let before = selections(&daemon, &group)?;
    assert_eq!(before.iter().sum::<u64>(), CONNECTIONS as u64);
    ensure!(before[0] > 0, "nothing waits at the listener that closes: {before:?}");
    group.leave(0);
    let accepted = accept(group.members(), CONNECTIONS)?;
    ensure!(accepted[0] > before[1] || accepted[1] > before[2], "none was handed on: {accepted:?}");
    assert_eq!(selections(&daemon, &group)?, before[1..], "accepted {accepted:?}");
    // What comes later is new.
    let (group, accepted) = namespace.run(move || {
        drop(waiting);
        let more = connect_many(&group)?;
        let accepted = accept(group.members(), more.len())?;
        Ok((group, accepted))
    })?;
    let expected: Vec<u64> = before[1..].iter().zip(&accepted).map(|(before, now)| before + now).collect();
    assert_eq!(selections(&daemon, &group)?, expected);
    let sum = in_all(&daemon, &group)?;
    assert!((sum - 2.0 * CONNECTIONS as f64).abs() < 0.5, "{sum} with the slot that is empty");
    Ok(())
}

fn connect_many(group: &Group) -> Result<Vec<Socket>> {
    (0..CONNECTIONS).map(|_| connect(group.address())).collect()
}

/// With TCP Fast Open a listener is woken by the first segment already, which brings data, and not again by the last.
#[test]
fn fast_open_is_one_selection() -> Result<()> {
    const FASTOPEN_BOTH: &str = "3";
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("fastopen")?;
    let daemon = launch.start()?;
    let (group, accepted, with_data) = namespace.run(|| {
        set("tcp_fastopen", FASTOPEN_BOTH)?;
        let group = Group::open(Transport::Tcp, LOOPBACK, MEMBERS)?;
        for member in group.members() {
            sockets::set(member, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 64)?;
        }
        let (mut accepted, mut with_data) = (vec![0; MEMBERS], 0);
        for _ in 0..CONNECTIONS {
            let client = sockets::open(Transport::Tcp, LOOPBACK)?;
            with_data += usize::from(send_with_syn(&client, group.address())?);
            for (sum, got) in accepted.iter_mut().zip(accept(group.members(), 1)?) {
                *sum += got;
            }
        }
        Ok((group, accepted, with_data))
    })?;
    if with_data == 0 {
        skip::skip("no connection of this kernel carried data in its first segment");
    }
    assert_eq!(selections(&daemon, &group)?, accepted, "{with_data} began with data");
    Ok(())
}

/// Connects and sends in one; whether the data went with the first segment and was taken
/// (`TCPI_OPT_SYN_DATA`, include/uapi/linux/tcp.h).
fn send_with_syn(client: &Socket, address: SocketAddr) -> Result<bool> {
    const TCPI_OPT_SYN_DATA: u8 = 32;
    client.send_to_with_flags(b"first", &SockAddr::from(address), libc::MSG_FASTOPEN)?;
    // SAFETY: integers only, for which zeroes are a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointers and the length describe `info`, which lives through the call.
    let outcome = unsafe {
        libc::getsockopt(
            client.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    ensure!(outcome == 0, "TCP_INFO: {}", std::io::Error::last_os_error());
    Ok(info.tcpi_options & TCPI_OPT_SYN_DATA != 0)
}
