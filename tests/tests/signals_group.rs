//! What others do to a SO_REUSEPORT group without a socket of their own in it, and a member that takes connections and
//! accepts none.

use std::time::Duration;

use anyhow::{Result, ensure};
use reuse_tests::{
    actor::Actor,
    daemon::Daemon,
    deadline::{self, PROMPT},
    groups,
    signals::{Expected, Party, Stage, TAKER, Traffic, VICTIM, counted},
};

const TCP: &str = "";
const UDP: &str = "kind=SOCK_DGRAM";

/// Another user's socket is not let in, and asking for it is no accident.
#[test]
fn another_user_is_refused() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "join")?;
    let mut signals = Vec::new();
    let rows = [
        (TCP, "127.0.0.1"),
        (UDP, "127.0.0.1"),
        (TCP, "::1"),
        (UDP, "::"),
        (TCP, "0.0.0.0"),
        (TCP, "127.0.0.1"),
    ];
    for (port, (kind, host)) in (8_001_u64..).zip(rows) {
        let mut victim = stage.actor("rt-victim", VICTIM)?;
        let mut contender = stage.actor("rt-contender", TAKER)?;
        let call = if kind == TCP { "listening" } else { "bound" };
        victim.run(&format!("s = {call}('{host}', {port}, RP, {kind})"))?;
        // One without the option asks for a port; it does not ask to share it.
        ensure!(contender.refused(&format!("{call}('{host}', {port}, {kind})"))? == "EADDRINUSE");
        contender.run(&format!("s = opened('{host}', RP, {kind})"))?;
        for _ in 0..2 {
            ensure!(contender.refused(&format!("s.bind(('{host}', {port}))"))? == "EADDRINUSE");
        }
        let asking = Party::new("contender", &mut contender, "s")?.asking(host, port);
        let expected =
            Expected::new("join_refused", "warning").party("holder", &mut victim, "s")?.and(asking);
        let signal = stage.raised(&expected)?;
        match port % 4 {
            0 => contender.run(&format!("s.bind(('{host}', {port} + 100))")).map(drop)?,
            1 => contender.run("s.close()").map(drop)?,
            2 => victim.run("s.close()").map(drop)?,
            _ => contender.end(),
        }
        stage.resolved(&expected, &signal)?;
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    counted(&daemon)
}

/// Most who are refused end at once: they have asked all the same.
#[test]
fn another_user_is_refused_and_gone() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "asked")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut contender = stage.actor("rt-contender", TAKER)?;
    victim.run("s = listening('127.0.0.1', 8001, RP)")?;
    contender.run("s = opened('127.0.0.1', RP)")?;
    ensure!(contender.refused("s.bind(('127.0.0.1', 8001))")? == "EADDRINUSE");
    let asking = Party::new("contender", &mut contender, "s")?.asking("127.0.0.1", 8_001);
    let expected = Expected::new("join_refused", "warning").party("holder", &mut victim, "s")?.and(asking);
    contender.end();
    deadline::until("it is told, and its end", PROMPT, || {
        let begins = stage.begins()?;
        let told = begins.iter().any(|begin| expected.is(begin));
        Ok((told && stage.list()?.iter().any(|listed| expected.is(listed) && !listed["until"].is_null()))
            .then_some(()))
    })
}

/// Two processes of one service in one group, by the order of their places, and who sends to it.
struct Cast {
    first: Actor,
    second: Actor,
    client: Actor,
}

impl Cast {
    fn new(stage: &Stage<'_>, kind: &str, host: &str, port: u64) -> Result<Self> {
        let [mut first, mut second] = [stage.actor("rt-first", VICTIM)?, stage.actor("rt-second", VICTIM)?];
        let client = stage.actor("rt-client", VICTIM)?;
        let call = if kind == TCP { "listening" } else { "bound" };
        for actor in [&mut first, &mut second] {
            actor.run(&format!("s = {call}('{host}', {port}, RP, {kind})"))?;
        }
        Ok(Self { first, second, client })
    }

    fn shares(&mut self, traffic: &Traffic<'_>) -> Result<[u64; 2]> {
        traffic.shares(&mut self.client, [(&mut self.first, "s"), (&mut self.second, "s")])
    }

    /// Waits until the daemon has counted this many selections of the group.
    fn counted(&mut self, daemon: &Daemon, selections: u64) -> Result<()> {
        let inode = self.first.facts("s")?["inode"].as_u64().unwrap_or_default();
        deadline::until("the selections are counted", PROMPT, || {
            let members = groups::members(&groups::of_inode(daemon, inode)?)?;
            let counted: u64 = members.values().map(|member| member.selections).sum();
            Ok((counted == selections).then_some(()))
        })
    }

    fn expected(&mut self, severity: &'static str) -> Result<Expected> {
        Expected::new("group_steering", severity).party("member", &mut self.first, "s")?.party(
            "member",
            &mut self.second,
            "s",
        )
    }
}

const DETACH: &str = "s.setsockopt(SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)";

/// Any member may say who gets what, and any member may take it back.
#[test]
fn a_member_steers_by_a_program() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "steer")?;
    let mut signals = Vec::new();
    let rows = [(TCP, "127.0.0.1"), (UDP, "127.0.0.1"), (TCP, "::1"), (UDP, "::1")];
    for (port, (kind, host)) in (8_001_u64..).zip(rows) {
        let mut cast = Cast::new(&stage, kind, host, port)?;
        let traffic = Traffic { kind, host, port, count: 40 };
        // Before there is traffic it is how the service is made.
        cast.second.run("attach_program(s)")?;
        let expected = cast.expected("info")?;
        let signal = stage.raised(&expected)?;
        ensure!(cast.shares(&traffic)? == [40, 0], "the program says the first");
        cast.second.run(DETACH)?;
        stage.resolved(&expected, &signal)?;
        signals.push(signal);
        ensure!(!cast.shares(&traffic)?.contains(&0), "the hash says both");
        cast.counted(&daemon, 80)?;

        cast.first.run("attach_program(s)")?;
        let expected = cast.expected("warning")?;
        let signal = stage.raised(&expected)?;
        ensure!(cast.shares(&traffic)? == [40, 0]);
        let last = if port.is_multiple_of(2) {
            cast.second.run(DETACH)?;
            expected
        } else {
            cast.first.run("s.close()")?;
            // Who is left alone between two looks is all that the end tells of.
            let alone = Expected::new("group_steering", "warning").party("member", &mut cast.second, "s")?;
            cast.second.end();
            alone
        };
        signals.push(stage.resolved(&last, &signal)?);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    counted(&daemon)
}

/// The member that prefers the CPU on which packets arrive gets all of them.
#[test]
fn a_member_steers_by_a_cpu() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "cpu")?;
    let mut signals = Vec::new();
    for (port, (kind, host)) in (8_001_u64..).zip([(TCP, "127.0.0.1"), (UDP, "127.0.0.1"), (UDP, "::1")]) {
        let mut cast = Cast::new(&stage, kind, host, port)?;
        let traffic = Traffic { kind, host, port, count: 40 };
        // What loopback delivers arrives on the CPU that sent it.
        let cpu =
            cast.client.run("answer = min(os.sched_getaffinity(0)); os.sched_setaffinity(0, {answer})")?;
        ensure!(!cast.shares(&traffic)?.contains(&0), "the hash says both");
        cast.counted(&daemon, 40)?;
        cast.second.run(&format!("s.setsockopt(SOL_SOCKET, SO_INCOMING_CPU, {cpu})"))?;
        let expected = cast.expected("warning")?;
        let signal = stage.raised(&expected)?;
        ensure!(cast.shares(&traffic)? == [0, 40], "the second has the CPU");
        if port.is_multiple_of(2) {
            cast.second.run("s.close()")?;
        } else {
            cast.second.run("s.setsockopt(SOL_SOCKET, SO_INCOMING_CPU, -1)")?;
        }
        stage.resolved(&expected, &signal)?;
        signals.push(signal);
    }
    // Workers that set it before they bind are how the service is made.
    let mut workers = [stage.actor("rt-worker", VICTIM)?, stage.actor("rt-worker", VICTIM)?];
    for (cpu, worker) in workers.iter_mut().enumerate() {
        worker.run(&format!("s = listening('127.0.0.1', 8010, RP, (SOL_SOCKET, SO_INCOMING_CPU, {cpu}))"))?;
    }
    let [first, second] = &mut workers;
    let expected =
        Expected::new("group_steering", "info").party("member", first, "s")?.party("member", second, "s")?;
    let signal = stage.raised(&expected)?;
    first.run("s.close()")?;
    second.run("s.close()")?;
    stage.resolved(&expected, &signal)?;
    signals.push(signal);
    stage.assert_only(&signals.iter().collect::<Vec<_>>())
}

/// A member that hangs has its share all the same: until its queue is full, and then the clients wait.
#[test]
fn a_member_accepts_nothing() -> Result<()> {
    const BACKLOG: u64 = 2;
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "stalled")?;
    let mut cast = Cast::new(&stage, TCP, "127.0.0.1", 8_001)?;
    // Both accept once, so that the ten seconds have a begin.
    ensure!(!cast.shares(&Traffic { kind: TCP, host: "127.0.0.1", port: 8_001, count: 40 })?.contains(&0));
    cast.second.run(&format!("s.listen({BACKLOG})"))?;
    cast.client.run(
        "waiting = [opened('127.0.0.1') for _ in range(40)]\n\
         for one in waiting: one.setblocking(False); one.connect_ex(('127.0.0.1', 8001))",
    )?;
    let expected = Expected::new("stalled_member", "warning").party("holder", &mut cast.second, "s")?.party(
        "member",
        &mut cast.first,
        "s",
    )?;
    stage.assert_only(&[])?;
    deadline::until("ten seconds without an accept", Duration::from_secs(12), || {
        let begins = stage.begins()?;
        Ok((!begins.is_empty()).then_some(()))
    })?;
    let signal = stage.raised(&expected)?;
    cast.second.run("s.accept()")?;
    stage.resolved(&expected, &signal)?;
    stage.assert_only(&[&signal])
}
