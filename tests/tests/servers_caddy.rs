//! Several processes of a Go server on one port: the requests that each logs are the selections of its member.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::Result;
use reuse_tests::{
    daemon::Launch,
    deadline,
    namespace::Namespace,
    servers::{Account, Caddy, Outcome, Program, assert_agreement, fetch},
};

const PORT: u16 = 8080;
const PROCESSES: usize = 3;

/// What each process has logged, by its listener, once that is `count` in all.
fn served(processes: &BTreeMap<u64, Caddy>, count: u64) -> Result<Account> {
    deadline::until("every request is logged", deadline::PROMPT, || {
        let served: Account =
            processes.iter().map(|(inode, caddy)| Ok((*inode, caddy.served()?))).collect::<Result<_>>()?;
        Ok((served.values().sum::<u64>() >= count).then_some(served))
    })
}

#[test]
fn each_process_serves_what_its_member_was_selected_for() -> Result<()> {
    let Some([caddy]) = Program::all(["caddy"]) else { return Ok(()) };
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("caddy")?;
    let daemon = launch.start()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let started = (0..PROCESSES)
        .map(|number| Caddy::start(&caddy, &namespace, address, number))
        .collect::<Result<Vec<_>>>()?;
    let members = daemon.members_at(&namespace, "tcp", PORT, PROCESSES)?;
    let mut processes = BTreeMap::new();
    for mut caddy in started {
        processes.insert(caddy.listener(&members)?, caddy);
    }
    assert_eq!(processes.len(), PROCESSES, "a listener for each process");

    assert_eq!(fetch(&namespace, address, 3_000)?, Outcome { answered: 3_000, reset: 0 });
    let first = served(&processes, 3_000)?;
    assert_eq!(first.values().sum::<u64>(), 3_000);
    assert!(first.values().all(|requests| *requests > 0), "{first:?}");
    assert_agreement(&daemon, &first)?;

    let (gone, caddy) = processes.pop_first().expect("three processes");
    caddy.end()?;
    daemon.members_at(&namespace, "tcp", PORT, PROCESSES - 1)?;
    assert_eq!(fetch(&namespace, address, 1_000)?, Outcome { answered: 1_000, reset: 0 });
    let left = served(&processes, 4_000 - first[&gone])?;
    assert_agreement(&daemon, &left)?;
    assert_eq!(daemon.selected_at(&namespace, "tcp", PORT)?, 4_000);
    Ok(())
}
