//! The generator by hand: makes binds, connections and datagrams on loopback, and prints what each socket got, to hold
//! beside `/metrics` of a daemon that watches.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context, Result, bail};
use reuse_tests::{
    generator::{self, Group, Share, Traffic},
    sockets::{self, Transport, family_name},
};

const USAGE: &str =
    "usage: traffic binds COUNT REFUSED | connections COUNT MEMBERS | datagrams COUNT MEMBERS";
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const THREADS: usize = 4;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [what, first, second] = arguments.as_slice() else { bail!(USAGE) };
    let first: usize = first.parse().with_context(|| format!("{first:?}; {USAGE}"))?;
    let second: usize = second.parse().with_context(|| format!("{second:?}; {USAGE}"))?;
    match what.as_str() {
        "binds" => {
            let calls = generator::binds(first as u64, second as u64)?;
            print!("bind:\n{}listen:\n{}", calls.binds, calls.listens);
        }
        "connections" => {
            for transport in [Transport::Tcp, Transport::Mptcp] {
                selections(transport, second, |group| generator::connections(group, first, THREADS))?;
            }
        }
        "datagrams" => {
            let traffic = Traffic { count: first, threads: THREADS, read_late: false };
            selections(Transport::Udp, second, |group| generator::datagrams(group, traffic))?;
        }
        other => bail!("{other:?}; {USAGE}"),
    }
    Ok(())
}

/// Runs traffic against a group of each family, and prints each member's share.
fn selections(transport: Transport, size: usize, run: impl Fn(&Group) -> Result<Vec<Share>>) -> Result<()> {
    for address in LOOPBACKS {
        let group = Group::open(transport, address, size)?;
        for Share { inode, taken, dropped } in run(&group)? {
            let (family, port) = (family_name(address), sockets::local_address(&group.members()[0])?.port());
            println!(
                "{} {family} port {port} inode {inode}: taken {taken} dropped {dropped}",
                transport.name()
            );
        }
    }
    Ok(())
}
