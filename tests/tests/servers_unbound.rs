//! unbound with a socket for each thread: the queries of each thread are the selections of its UDP and its TCP member.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use reuse_tests::{
    daemon::Launch,
    deadline,
    namespace::Namespace,
    servers::{Account, Outcome, Program, Unbound, ask_by_tcp, assert_agreement, dnsperf},
};

const PORT: u16 = 5353;
const THREADS: usize = 4;

#[test]
fn each_thread_answers_what_its_members_were_selected_for() -> Result<()> {
    let Some([unbound, control, client]) = Program::all(["unbound", "unbound-control", "dnsperf"]) else {
        return Ok(());
    };
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("unbound")?;
    let daemon = launch.start()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let unbound = Unbound::start([&unbound, &control], &namespace, address, THREADS)?;
    let sockets = daemon.members_at(&namespace, "udp", PORT, THREADS)?;
    let listeners = daemon.members_at(&namespace, "tcp", PORT, THREADS)?;

    assert_eq!(dnsperf(&client, &namespace, address, &unbound.queries(), (20_000, 64))?, 20_000);
    let by_udp = unbound.answered()?;
    assert_eq!(by_udp.iter().sum::<u64>(), 20_000);
    assert!(by_udp.iter().all(|queries| *queries > 0), "{by_udp:?}");
    assert_agreement(&daemon, &account(&unbound.sockets(&sockets)?, &by_udp))?;

    assert_eq!(ask_by_tcp(&namespace, address, 1_000)?, Outcome { answered: 1_000, reset: 0 });
    let all = deadline::until("unbound counted every query", deadline::PROMPT, || {
        Ok(Some(unbound.answered()?).filter(|all| all.iter().sum::<u64>() >= 21_000))
    })?;
    let by_tcp: Vec<u64> = all.iter().zip(&by_udp).map(|(all, udp)| all - udp).collect();
    assert_agreement(&daemon, &account(&unbound.sockets(&listeners)?, &by_tcp))
}

/// What each thread counted, by the inode of its socket.
fn account(sockets: &[u64], counts: &[u64]) -> Account {
    sockets.iter().copied().zip(counts.iter().copied()).collect()
}
