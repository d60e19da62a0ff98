//! Sockets of others on the very address and port that somebody has: of other users, other programs, an earlier
//! generation, and those that took it when its owner let go.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reuse_tests::{
    actor::Actor,
    cgroup::Group,
    daemon::Daemon,
    deadline,
    signals::{Double, Expected, Party, Stage, TAKER, Traffic, VICTIM, counted},
};

const UDP: &str = "kind=SOCK_DGRAM";

/// SO_REUSEADDR on both is all it takes with UDP: whoever bound last gets everything.
#[test]
fn another_user_shares_datagrams() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "share")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", TAKER)?;
    let mut client = stage.actor("rt-client", VICTIM)?;
    let mut signals = Vec::new();
    let rows = [
        ("127.0.0.1", "127.0.0.1", "RA"),
        ("0.0.0.0", "127.0.0.1", "RA"),
        ("127.0.0.1", "127.0.0.1", "RA, RP"),
        ("::1", "::1", "RA"),
        ("::", "::1", "RA"),
        ("::", "127.0.0.1", "RA"),
        ("::", "::1", "RA, V6ONLY"),
    ];
    for (port, (host, target, options)) in (8_001_u64..).zip(rows) {
        let bind = format!("s = bound('{host}', {port}, {options}, {UDP})");
        victim.run(&bind)?;
        let traffic = Traffic { kind: UDP, host: target, port, count: 5 };
        ensure!(traffic.shares(&mut client, [(&mut victim, "s")])? == [5], "it is the victim's");
        taker.run(&bind)?;
        let expected = Expected::new("foreign_uid_share", "critical")
            .party("victim", &mut victim, "s")?
            .party("taker", &mut taker, "s")?;
        let signal = stage.raised(&expected)?;
        let traffic = Traffic { count: 17, ..traffic };
        let shares = traffic.shares(&mut client, [(&mut victim, "s"), (&mut taker, "s")])?;
        // IPv6 sockets with SO_REUSEPORT stand at the end of the list (net/ipv4/udp.c, `udp_lib_get_port`).
        let last_wins = !(host.contains(':') && options.contains("RP"));
        ensure!(shares == if last_wins { [0, 17] } else { [17, 0] }, "{host} {options}: {shares:?}");
        stage.selections(&expected, "taker", 17)?;
        stage.selections(&expected, "victim", 0)?;
        let ends = if port.is_multiple_of(2) { &mut victim } else { &mut taker };
        ends.run("s.close()")?;
        stage.resolved(&expected, &signal)?;
        victim.run("s.close()")?;
        taker.run("s.close()")?;
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    counted(&daemon)
}

/// The first overlapping socket of the scan decides, and the newest is first: one's own lets one in past the victim's.
#[test]
fn another_user_gets_past_the_uid_test() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "past")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", TAKER)?;
    let mut client = stage.actor("rt-client", VICTIM)?;
    victim.run("s = bound('127.0.0.1', 8001, RP, kind=SOCK_DGRAM)")?;
    taker.run("step = bound('127.0.0.2', 8001, RP, kind=SOCK_DGRAM)")?;
    taker.run("wide = bound('0.0.0.0', 8001, RP, kind=SOCK_DGRAM)")?;
    taker.run("s = bound('127.0.0.1', 8001, RP, kind=SOCK_DGRAM)")?;
    let share = Expected::new("foreign_uid_share", "critical")
        .party("victim", &mut victim, "s")?
        .party("taker", &mut taker, "s")?;
    let shadow = Expected::new("more_specific_shadow", "critical")
        .party("victim", &mut taker, "wide")?
        .party("taker", &mut victim, "s")?;
    let (shared, shadowed) = (stage.raised(&share)?, stage.raised(&shadow)?);
    let traffic = Traffic { kind: UDP, host: "127.0.0.1", port: 8_001, count: 9 };
    ensure!(traffic.shares(&mut client, [(&mut victim, "s"), (&mut taker, "s")])? == [0, 9]);
    taker.run("wide.close(); step.close()")?;
    stage.resolved(&shadow, &shadowed)?;
    ensure!(stage.listed(&share)?["since"] == shared["since"], "it lasts");
    taker.run("s.close()")?;
    stage.resolved(&share, &shared)?;
    stage.assert_only(&[&shared, &shadowed])
}

/// A socket connected to the victim's client gets what that client sends.
#[test]
fn another_user_connects_to_a_client() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "connected")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", TAKER)?;
    let mut client = stage.actor("rt-client", VICTIM)?;
    client.run("s = bound('127.0.0.1', 9001, kind=SOCK_DGRAM); s.connect(('127.0.0.1', 8001))")?;
    taker.run("s = bound('127.0.0.1', 8001, RA, kind=SOCK_DGRAM); s.connect(('127.0.0.1', 9001))")?;
    // The victim is the newer one and gets all but that client's.
    victim.run("s = bound('127.0.0.1', 8001, RA, kind=SOCK_DGRAM)")?;
    let expected = Expected::new("foreign_uid_share", "critical").party("victim", &mut taker, "s")?.party(
        "taker",
        &mut victim,
        "s",
    )?;
    let signal = stage.raised(&expected)?;
    client.run("for _ in range(6): s.send(b'x')")?;
    ensure!(victim.run("answer = taken(s)")? == 0 && taker.run("answer = taken(s)")? == 6);
    let others = Traffic { kind: UDP, host: "127.0.0.1", port: 8_001, count: 6 };
    ensure!(others.shares(&mut client, [(&mut victim, "s"), (&mut taker, "s")])? == [6, 0]);
    taker.run("s.close()")?;
    stage.resolved(&expected, &signal)?;
    stage.assert_only(&[&signal])
}

/// One user's programs are let into one another's groups.
#[test]
fn another_program_joins() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "program")?;
    let double = Double::new("rt-double")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor_of(&double, "rt-taker", VICTIM)?;
    let mut signals = Vec::new();
    let rows = [
        ("listening", "127.0.0.1", "RP"),
        ("listening", "::1", "RP"),
        ("listening", "::", "RP"),
        ("bound", "127.0.0.1", "RP, kind=SOCK_DGRAM"),
        ("bound", "::", "RP, kind=SOCK_DGRAM"),
        ("bound", "0.0.0.0", "RA, kind=SOCK_DGRAM"),
    ];
    for (port, (call, host, options)) in (8_001..).zip(rows) {
        let open = format!("s = {call}('{host}', {port}, {options})");
        victim.run(&open)?;
        taker.run(&open)?;
        let expected = Expected::new("foreign_program_join", "warning")
            .party("victim", &mut victim, "s")?
            .party("taker", &mut taker, "s")?;
        let signal = stage.raised(&expected)?;
        let ends = if port % 2 == 0 { &mut victim } else { &mut taker };
        ends.run("s.close()")?;
        stage.resolved(&expected, &signal)?;
        victim.run("s.close()")?;
        taker.run("s.close()")?;
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    counted(&daemon)
}

/// The same program as another unit or in another container is another one; root is root in all of them.
#[test]
fn another_container_or_unit_joins() -> Result<()> {
    const ONE: &str = "4e5f5b6c7d8e9f00112233445566778899aabbccddeeff001122334455667788";
    const OTHER: &str = "c0ffee6c7d8e9f00112233445566778899aabbccddeeff001122334455667788";
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "container")?.also_called(&ONE[..12]);
    let docker = |id: &str| Group::new(format!("system.slice/docker-{id}.scope"));
    let Some(one) = docker(ONE)? else { return Ok(()) };
    let Some(other) = docker(OTHER)? else { return Ok(()) };
    let Some(unit) = Group::new("system.slice/rt-other.service")? else { return Ok(()) };
    let mut signals = Vec::new();
    for (port, (first, second)) in (8_001..).zip([(&one, &other), (&one, &unit), (&unit, &one)]) {
        let mut victim = stage.actor("rt-victim", 0)?;
        let mut taker = stage.actor("rt-taker", 0)?;
        first.take(victim.pid())?;
        second.take(taker.pid())?;
        victim.run(&format!("s = listening('127.0.0.1', {port}, RP)"))?;
        taker.run(&format!("s = listening('127.0.0.1', {port}, RP)"))?;
        let expected = Expected::new("foreign_program_join", "warning")
            .party("victim", &mut victim, "s")?
            .party("taker", &mut taker, "s")?;
        let signal = stage.raised(&expected)?;
        taker.end();
        stage.resolved(&expected, &signal)?;
        victim.end();
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())
}

/// Who was to be replaced is still there.
#[test]
fn two_generations_overlap() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "generation")?;
    let prepared = |comm: &str| stage.namespace().run(|| Actor::start(comm));
    let begin = |actor: &mut Actor| -> Result<()> {
        actor.part()?;
        actor.run(&format!("os.setresuid({VICTIM}, {VICTIM}, {VICTIM})"))?;
        Ok(())
    };
    let (mut old, mut twin) = (prepared("rt-old")?, prepared("rt-twin")?);
    let mut new = prepared("rt-new")?;
    // Started together, as workers are: however long python3 takes to start.
    begin(&mut old)?;
    begin(&mut twin)?;
    let started = Instant::now();
    let (tcp, udp) =
        ("t = listening('127.0.0.1', 8001, RP)", "u = bound('127.0.0.1', 8002, RP, kind=SOCK_DGRAM)");
    for actor in [&mut old, &mut twin] {
        actor.run(tcp)?;
        actor.run(udp)?;
        // A master's workers, whenever they start.
        actor.run("child = forked(lambda: None)")?;
    }
    stage.assert_only(&[])?;
    twin.end();
    // By definition two generations start that far apart.
    deadline::until("two seconds and a tick", Duration::from_secs(4), || {
        Ok((started.elapsed() >= Duration::from_millis(2_050)).then_some(()))
    })?;
    begin(&mut new)?;
    new.run(tcp)?;
    new.run(udp)?;
    let [of_tcp, of_udp] = ["t", "u"].map(|variable| -> Result<Expected> {
        Expected::new("generation_overlap", "info")
            .party("member", &mut old, variable)?
            .party("member", &mut new, variable)
    });
    let (of_tcp, of_udp) = (of_tcp?, of_udp?);
    let signals = [stage.raised(&of_tcp)?, stage.raised(&of_udp)?];
    new.run("u.close()")?;
    stage.resolved(&of_udp, &signals[1])?;
    old.end();
    stage.resolved(&of_tcp, &signals[0])?;
    stage.assert_only(&signals.iter().collect::<Vec<_>>())
}

/// The port of who closes, crashes or restarts is anybody's at once.
#[test]
fn others_take_a_port_that_was_let_go() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "takeover")?;
    let double = Double::new("rt-double")?;
    let mut client = stage.actor("rt-client", VICTIM)?;
    let mut signals = Vec::new();
    let takers = [
        // A restart race that TIME_WAIT does not prevent.
        ("127.0.0.1", "RP", "127.0.0.1", "RP", TAKER),
        ("127.0.0.1", "RA", "127.0.0.1", "RA", TAKER),
        ("127.0.0.1", "RA", "0.0.0.0", "RA", TAKER),
        ("0.0.0.0", "RA", "127.0.0.1", "RA", TAKER),
        ("::", "RA", "127.0.0.1", "RA", TAKER),
        ("::1", "RA", "::", "RA", TAKER),
        ("127.0.0.1", "RA", "127.0.0.1", "RA", VICTIM),
    ];
    for (port, (held, options, taken, with, uid)) in (8_001_u64..).zip(takers) {
        let mut victim = stage.actor("rt-victim", VICTIM)?;
        victim.run(&format!("s = listening('{held}', {port}, {options})"))?;
        let target = if held.contains(':') { "::1" } else { "127.0.0.1" };
        let traffic = Traffic { kind: "", host: target, port, count: 1 };
        // The victim closes first: its end of the connection stays in TIME_WAIT.
        ensure!(traffic.shares(&mut client, [(&mut victim, "s")])? == [1]);
        let lost = Party::new("victim", &mut victim, "s")?;
        // One closes, the next crashes.
        if port.is_multiple_of(2) {
            victim.end();
        } else {
            victim.run("s.close()")?;
        }
        let mut taker = if uid == VICTIM {
            stage.actor_of(&double, "rt-taker", uid)?
        } else {
            stage.actor("rt-taker", uid)?
        };
        taker.run(&format!("s = bound('{taken}', {port}, {with})"))?;
        if port == 8_001 {
            stage.assert_only(&[])?;
        }
        taker.run("s.listen()")?;
        let expected =
            Expected::new("takeover_after_close", "warning").and(lost).party("taker", &mut taker, "s")?;
        let signal = stage.raised(&expected)?;
        if port.is_multiple_of(3) {
            taker.end();
        } else {
            taker.run("s.close()")?;
        }
        stage.resolved(&expected, &signal)?;
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    counted(&daemon)
}

/// A socket that had its datagrams for ten seconds was a service.
#[test]
fn others_take_a_datagram_port_that_was_let_go() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "datagrams")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", TAKER)?;
    victim.run("s = bound('127.0.0.1', 8001, kind=SOCK_DGRAM)")?;
    let bound = Instant::now();
    // One that was bound for a moment was none.
    victim.run("bound('127.0.0.1', 8002, kind=SOCK_DGRAM).close()")?;
    taker.run("t = bound('127.0.0.1', 8002, kind=SOCK_DGRAM)")?;
    stage.assert_only(&[])?;
    deadline::until("ten seconds and a tick", Duration::from_secs(12), || {
        Ok((bound.elapsed() >= Duration::from_millis(10_050)).then_some(()))
    })?;
    let lost = Party::new("victim", &mut victim, "s")?;
    victim.run("s.close()")?;
    taker.run("s = bound('0.0.0.0', 8001, kind=SOCK_DGRAM)")?;
    let expected =
        Expected::new("takeover_after_close", "warning").and(lost).party("taker", &mut taker, "s")?;
    let signal = stage.raised(&expected)?;
    taker.run("s.close()")?;
    stage.resolved(&expected, &signal)?;
    stage.assert_only(&[&signal])
}

/// Restarts, and whoever the kernel gives a port that was let go, take nothing over.
#[test]
fn a_restart_raises_nothing() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "restart")?;
    let mut first = stage.actor("rt-service", VICTIM)?;
    first.run("s = listening('127.0.0.1', 8001, RA); t = listening('127.0.0.1', 8002, RA)")?;
    first.end();
    let mut again = stage.actor("rt-service", VICTIM)?;
    again.run("s = listening('127.0.0.1', 8001, RA)")?;
    // Another address of that port, another port, and a port that the kernel chose.
    let mut other = stage.actor("rt-other", TAKER)?;
    other.run("s = listening('127.0.0.2', 8002); t = listening('127.0.0.1', 8003)")?;
    stage.namespace().run(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "8004 8005")?;
        Ok(())
    })?;
    for _ in 0..4 {
        again.run("u = listening('127.0.0.1', 0)")?;
        again.run("u.close()")?;
        other.run("u = listening('127.0.0.1', 0)")?;
        other.run("u.close()")?;
    }
    stage.assert_only(&[])
}

/// Multicast is shared by design, by all who joined the group.
#[test]
fn multicast_is_shared_by_design() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "multicast")?;
    stage.namespace().ip(&["route", "add", "224.0.0.0/4", "dev", "lo"])?;
    let mut one = stage.actor("rt-one", VICTIM)?;
    let mut other = stage.actor("rt-other", TAKER)?;
    let join = |group: &str| {
        format!("s.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, inet_aton('{group}') + inet_aton('127.0.0.1'))")
    };
    let mut signals = Vec::new();
    for (port, [first, second], severity) in [
        (5_353, ["224.0.0.251", "224.0.0.251"], "info"),
        (1_900, ["239.255.255.250", "239.255.255.250"], "info"),
        (1_901, ["239.255.255.250", "224.0.0.251"], "critical"),
    ] {
        for (actor, group) in [(&mut one, first), (&mut other, second)] {
            actor.run(&format!("s = bound('0.0.0.0', {port}, RA, kind=SOCK_DGRAM); {}", join(group)))?;
        }
        let expected = Expected::new("foreign_uid_share", severity)
            .party("victim", &mut one, "s")?
            .party("taker", &mut other, "s")?;
        let signal = stage.raised(&expected)?;
        other.run("s.close()")?;
        stage.resolved(&expected, &signal)?;
        one.run("s.close()")?;
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())
}
