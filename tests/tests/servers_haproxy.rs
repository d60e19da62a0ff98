//! HAProxy with a listener for each thread: the sessions of each listener are the selections of its member.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use reuse_tests::{
    daemon::Launch,
    deadline, groups,
    namespace::Namespace,
    servers::{HAProxy, Outcome, Program, assert_agreement, connections_made, fetch, wrk},
};

const NAMED: u16 = 8080;
const SHARDED: u16 = 8081;
const THREADS: u32 = 4;

#[test]
fn each_listener_has_the_sessions_its_member_was_selected_for() -> Result<()> {
    let Some([haproxy, wrk_program]) = Program::all(["haproxy", "wrk"]) else { return Ok(()) };
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("haproxy")?;
    let [named, sharded] = [NAMED, SHARDED].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let haproxy = HAProxy::start(&haproxy, &namespace, (named, sharded), THREADS)?;
    // A server that was there before the daemon.
    let daemon = launch.start()?;
    let members = daemon.members_at(&namespace, "tcp", NAMED, THREADS as usize)?;
    let shards = daemon.members_at(&namespace, "tcp", SHARDED, THREADS as usize)?;

    let all = Outcome { answered: 2_000, reset: 0 };
    assert_eq!(fetch(&namespace, named, 2_000)?, all);
    let served = haproxy.served(&members)?;
    assert_eq!(served.len(), THREADS as usize);
    assert_eq!(served.values().sum::<u64>(), 2_000);
    assert_agreement(&daemon, &served)?;

    // The listeners that HAProxy made itself have one name in its statistics.
    assert_eq!(fetch(&namespace, sharded, 2_000)?, all);
    let mut sessions: Vec<u64> = haproxy.listeners("sharded")?.iter().map(|row| row.sessions).collect();
    let shown = groups::of_inode(&daemon, shards.into_iter().next().unwrap_or_default())?;
    let mut selections: Vec<u64> =
        groups::members(&shown)?.into_values().map(|member| member.selections).collect();
    sessions.sort_unstable();
    selections.sort_unstable();
    assert_eq!(selections, sessions);

    let answers = wrk(&wrk_program, &namespace, named)?;
    let made = connections_made(&namespace)? - 2_000;
    ensure!(answers > 0 && made >= 2_000 + answers, "{answers} answers, {made} connections");
    let served = deadline::until("HAProxy took every connection", deadline::PROMPT, || {
        Ok(Some(haproxy.served(&members)?).filter(|served| served.values().sum::<u64>() >= made))
    })?;
    assert_eq!(served.values().sum::<u64>(), made, "sessions, connections begun in the namespace");
    assert_agreement(&daemon, &served)
}
