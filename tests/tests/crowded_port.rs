//! A port with tens of thousands of connections: a refused bind stays cheap, names the listener first, and says that it did
//! not read everyone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    conflicts::{self, assert_exact, assert_remedy, holders},
    daemon::{Daemon, Launch},
    deadline, effort,
    events::assert_fields,
    inventory,
    metrics::Metrics,
    namespace::Namespace,
    sockets::{self, Transport},
};
use serde_json::{Value, json};

/// How many sockets beside listeners are read of a port at most; on a busy machine time may end it before.
const READ_AT_MOST: usize = 256;
/// How many are read however long it takes.
const ALWAYS_READ: usize = 48;
/// Connections a process holds by both ends, within the usual limit of descriptors.
const PER_PROCESS: usize = 8_000;
const CONNECTIONS: usize = 50_000;
/// Refused binds to take the mean of.
const REFUSALS: u32 = 200;
/// Reading everyone takes the kernel some milliseconds; the target for what is read is 80 us, cache cold.
const LIMIT: Duration = Duration::from_micros(500);
const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// The program that reads who is on the port.
const PROGRAM: &str = "sys_exit_bind_listen";

/// kernel.bpf_stats_enabled, set for a test.
struct BpfStats(String);

impl BpfStats {
    fn enable() -> Result<Self> {
        let before = std::fs::read_to_string(BPF_STATS).context(BPF_STATS)?;
        std::fs::write(BPF_STATS, "1").context(BPF_STATS)?;
        Ok(Self(before))
    }
}

impl Drop for BpfStats {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(Path::new(BPF_STATS), &self.0) {
            eprintln!("{BPF_STATS} stays on: {error}");
        }
    }
}

/// A server in the calling thread's namespace that listens on 127.0.0.1:8080 as `h`, and whose children hold this many
/// connections to it by both ends.
fn crowded(connections: usize) -> Result<Actor> {
    let mut server = Actor::start("rt-crowded")?;
    // Each child has a source address of its own, so that ports are enough, and descriptors for its share.
    server.run(&format!(
        "def connect(place, count):\n\
         \x20   held = []\n\
         \x20   for _ in range(count):\n\
         \x20       held.append(connected('127.0.0.1', 8080, source=f'127.0.1.{{1 + place}}'))\n\
         \x20       held.append(h.accept()[0])\n\
         \x20   os.write(done[1], b'x')\n\
         \x20   signal.pause()\n\
         h = listening('127.0.0.1', 8080)\n\
         done = os.pipe()\n\
         shares = [min({PER_PROCESS}, {connections} - start) for start in range(0, {connections}, {PER_PROCESS})]\n\
         children = [forked(lambda: connect(*share)) for share in enumerate(shares)]\n\
         for _ in children: os.read(done[0], 1)"
    ))?;
    Ok(server)
}

fn refused(daemon: &Daemon) -> Result<Value> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    conflicts::bind(daemon, &sockets::open(Transport::Tcp, address.ip())?, address)
}

/// The listener comes first, however many connections came after it.
#[track_caller]
fn assert_listener_first(event: &Value, server: &mut Actor) -> Result<()> {
    let first = holders(event).first().context("holders")?;
    assert_fields(first, &server.facts("h")?);
    assert_fields(first, &json!({ "state": "listen", "rule": "holder_is_listening" }));
    // Its children inherited it.
    assert!(inventory::owner_pids(first).contains(&u64::from(server.pid())), "{first}");
    for connection in &holders(event)[1..] {
        assert_fields(connection, &json!({ "state": "connected", "rule": "exclusive", "port": 8080 }));
    }
    assert_eq!(event["rule"], "holder_is_listening", "{}", event["rule"]);
    assert_remedy(event, &["top the listener"]);
    Ok(())
}

#[test]
fn a_short_list_is_told_whole() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let namespace = Namespace::new("crowded")?;
    let (event, mut server) = namespace.run(|| {
        let server = crowded(ALWAYS_READ)?;
        Ok((refused(&daemon)?, server))
    })?;
    assert_exact(&event, "holder_is_listening", &["TIME_WAIT"]);
    assert_eq!(holders(&event).len(), 1 + ALWAYS_READ);
    assert_listener_first(&event, &mut server)?;
    // Each connection is told with the one process that has it.
    let child = server.run("answer = children[0]")?;
    for connection in &holders(&event)[1..] {
        assert_eq!(connection["owners"][0]["pid"], child, "{connection}");
        assert_eq!(connection["owners"][1], Value::Null, "{connection}");
    }
    Ok(())
}

#[test]
fn more_than_are_read_are_said_to_be_missing() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let namespace = Namespace::new("crowded")?;
    let (event, mut server) = namespace.run(|| {
        let server = crowded(READ_AT_MOST + 1)?;
        Ok((refused(&daemon)?, server))
    })?;
    assert_fields(&event, &json!({ "truncated": true, "confidence": "best_evidence" }));
    let told = holders(&event).len();
    assert!((ALWAYS_READ..=1 + READ_AT_MOST).contains(&told), "{told} holders");
    assert_listener_first(&event, &mut server)
}

#[test]
fn fifty_thousand_connections_make_a_refusal_no_dearer() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("crowded")?;
    let _stats = BpfStats::enable()?;
    let daemon = launch.start()?;
    let spent = |metrics: &Metrics| {
        let of_program = [("bpf_program", PROGRAM)];
        let seconds = metrics.sum("reuse_daemon_ebpf_program_run_seconds_total", &of_program);
        let runs = metrics.sum("reuse_daemon_ebpf_program_runs_total", &of_program);
        Some((seconds?, runs?))
    };
    let (event, mut server) = namespace.run(|| {
        let server = crowded(effort::fewer(CONNECTIONS, "connections"))?;
        Ok((refused(&daemon)?, server))
    })?;
    assert_fields(&event, &json!({ "truncated": true, "confidence": "best_evidence" }));
    assert_listener_first(&event, &mut server)?;

    let before = daemon.metrics_until("what the program costs", spent)?;
    namespace.run(|| {
        let contender = sockets::open(Transport::Tcp, Ipv4Addr::LOCALHOST.into())?;
        for _ in 0..REFUSALS {
            contender
                .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)).into())
                .err()
                .context("the port is held")?;
        }
        Ok(())
    })?;
    let after = daemon.metrics_until("every run of the program", |now| {
        spent(now).filter(|(_, runs)| *runs >= before.1 + f64::from(REFUSALS))
    })?;
    let mean = Duration::from_secs_f64((after.0 - before.0) / (after.1 - before.1));
    println!(
        "{} runs of {PROGRAM} with all these connections on the port: {mean:?} each",
        after.1 - before.1
    );
    assert!(mean <= deadline::scaled(LIMIT), "{mean:?} for a refused bind");
    Ok(())
}
