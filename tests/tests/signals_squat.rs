//! Ways past the kernel's checks: to listen before the victim does, TCP_REPAIR, a socket under the victim's uid.

use anyhow::{Result, ensure};
use reuse_tests::{
    daemon::Daemon,
    signals::{Double, Expected, Party, Stage, TAKER, Traffic, VICTIM, counted},
};

/// Both may bind with SO_REUSEADDR; who listens first has the port, and the other is refused.
#[test]
fn others_listen_first() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "squat")?;
    let double = Double::new("rt-double")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut foreign = stage.actor("rt-foreign", TAKER)?;
    let mut program = stage.actor_of(&double, "rt-program", VICTIM)?;
    let mut client = stage.actor("rt-client", VICTIM)?;
    let mut signals = Vec::new();
    let rows = [
        ("127.0.0.1", "127.0.0.1", true),
        ("0.0.0.0", "127.0.0.1", true),
        ("127.0.0.1", "0.0.0.0", true),
        ("::1", "::1", true),
        ("::", "::1", true),
        ("::", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.1", false),
        ("::1", "::", false),
    ];
    for (port, (held, taken, is_foreign)) in (8_001_u64..).zip(rows) {
        let taker = if is_foreign { &mut foreign } else { &mut program };
        let [hold, take] = [held, taken].map(|host| format!("s = bound('{host}', {port}, RA)"));
        // Who binds first does not matter.
        let order = if port == 8_002 {
            [(&mut *taker, take), (&mut victim, hold)]
        } else {
            [(&mut victim, hold), (&mut *taker, take)]
        };
        for (actor, bind) in order {
            actor.run(&bind)?;
        }
        if port == 8_001 {
            stage.assert_only(&[])?;
        }
        taker.run("s.listen()")?;
        let expected = Expected::new("listen_squat", "critical")
            .party("victim", &mut victim, "s")?
            .party("taker", taker, "s")?;
        let signal = stage.raised(&expected)?;
        ensure!(victim.refused("s.listen()")? == "EADDRINUSE");
        let host = if [held, taken].contains(&"::1") { "::1" } else { "127.0.0.1" };
        let traffic = Traffic { kind: "", host, port, count: 3 };
        ensure!(traffic.shares(&mut client, [(taker, "s")])? == [3]);
        let ends = if port.is_multiple_of(2) { &mut victim } else { &mut *taker };
        ends.run("s.close()")?;
        stage.resolved(&expected, &signal)?;
        taker.run("s.close()")?;
        victim.run("s.close()")?;
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    counted(&daemon)
}

/// Who has CAP_NET_ADMIN is not checked at all.
#[test]
fn repair_mode_skips_every_check() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "repair")?;
    let mut taker = stage.actor("rt-taker", 0)?;
    let mut client = stage.actor("rt-client", VICTIM)?;
    let mut signals = Vec::new();
    let rows = [
        ("127.0.0.1", VICTIM, "critical"),
        ("::1", VICTIM, "critical"),
        ("0.0.0.0", VICTIM, "critical"),
        ("127.0.0.1", 0, "warning"),
    ];
    for (port, (host, uid, severity)) in (8_001_u64..).zip(rows) {
        let mut victim = stage.actor("rt-victim", uid)?;
        victim.run(&format!("s = listening('{host}', {port})"))?;
        ensure!(taker.refused(&format!("listening('{host}', {port})"))? == "EADDRINUSE");
        taker.run(&format!("s = opened('{host}'); s.setsockopt(IPPROTO_TCP, TCP_REPAIR, 1)"))?;
        taker.run(&format!("s.bind(('{host}', {port})); s.listen()"))?;
        let expected = Expected::new("repair_bind", severity)
            .party("victim", &mut victim, "s")?
            .party("taker", &mut taker, "s")?;
        let signal = stage.raised(&expected)?;
        let host = if host == "::1" { host } else { "127.0.0.1" };
        let traffic = Traffic { kind: "", host, port, count: 5 };
        let shares = traffic.shares(&mut client, [(&mut victim, "s"), (&mut taker, "s")])?;
        ensure!(shares == [0, 5], "{shares:?}");
        if port.is_multiple_of(2) {
            victim.end();
        } else {
            taker.run("s.close()")?;
        }
        stage.resolved(&expected, &signal)?;
        taker.run("s.close()")?;
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    counted(&daemon)
}

/// A listener cannot leave that mode (net/ipv4/tcp.c, `tcp_can_repair_sock`). Who leaves it before it listens cannot listen,
/// and still has the port by force.
#[test]
fn repair_mode_that_is_left() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "left")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", 0)?;
    let repair = "s = opened('127.0.0.1'); s.setsockopt(IPPROTO_TCP, TCP_REPAIR, 1)";
    let leave = "s.setsockopt(IPPROTO_TCP, TCP_REPAIR, 0)";
    let mut signals = Vec::new();
    for (port, listens) in [(8_001, false), (8_002, true)] {
        victim.run(&format!("s = listening('127.0.0.1', {port})"))?;
        taker.run(&format!(
            "{repair}; s.bind(('127.0.0.1', {port})); {}",
            if listens { "s.listen()" } else { leave }
        ))?;
        if listens {
            ensure!(taker.refused(leave)? == "EPERM");
        } else {
            ensure!(taker.refused("s.listen()")? == "EADDRINUSE");
        }
        let expected = Expected::new("repair_bind", "critical")
            .party("victim", &mut victim, "s")?
            .party("taker", &mut taker, "s")?;
        let signal = stage.raised(&expected)?;
        taker.run("s.close()")?;
        stage.resolved(&expected, &signal)?;
        signals.push(signal);
    }
    stage.assert_only(&signals.iter().collect::<Vec<_>>())
}

/// The kernel takes the socket for one of the victim's, and lets it into the victim's group.
#[test]
fn a_socket_under_the_victims_uid() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "owner")?;
    let double = Double::new("rt-double")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", 0)?;
    let mut program = stage.actor_of(&double, "rt-program", 0)?;
    let mut signals = Vec::new();
    let rows = [
        ("", "127.0.0.1", false),
        ("kind=SOCK_DGRAM", "127.0.0.1", false),
        ("", "::1", true),
        ("kind=SOCK_DGRAM", "::", true),
    ];
    for (port, (kind, host, is_other)) in (8_001..).zip(rows) {
        let taker = if is_other { &mut program } else { &mut taker };
        let call = if kind.is_empty() { "listening" } else { "bound" };
        victim.run(&format!("s = {call}('{host}', {port}, RP, {kind})"))?;
        taker.run(&format!("s = opened('{host}', RP, {kind}); os.fchown(s.fileno(), {VICTIM}, -1)"))?;
        taker.run(&format!("s.bind(('{host}', {port}))"))?;
        if kind.is_empty() {
            taker.run("s.listen()")?;
        }
        let party = Party::new("taker", taker, "s")?;
        ensure!(party.socket_uid() == u64::from(VICTIM));
        // It passes for one of the victim's.
        let expected =
            Expected::new("owner_change", "warning").and(party).party("member", &mut victim, "s")?;
        let signal = stage.raised(&expected)?;
        let end = if port % 2 == 0 { "s.close()" } else { "os.fchown(s.fileno(), 0, -1)" };
        taker.run(end)?;
        stage.resolved(&expected, &signal)?;
        signals.push(signal);
        if port % 2 != 0 {
            // As it is now, it is another user's.
            let expected = Expected::new("foreign_uid_share", "critical")
                .party("victim", &mut victim, "s")?
                .party("taker", taker, "s")?;
            signals.push(stage.raised(&expected)?);
        }
        victim.run("s.close()")?;
        taker.run("s.close()")?;
    }
    // The uid of a socket that has its port already.
    let mut other = stage.actor("rt-other", 0)?;
    other.run("s = listening('127.0.0.1', 8010)")?;
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    other.run(&format!("os.fchown(s.fileno(), {VICTIM}, -1)"))?;
    let expected = Expected::new("owner_change", "warning").party("taker", &mut other, "s")?;
    let signal = stage.raised(&expected)?;
    other.end();
    stage.resolved(&expected, &signal)?;
    signals.push(signal);
    stage.assert_only(&signals.iter().collect::<Vec<_>>())
}

/// Servers bind as root and go on as somebody else.
#[test]
fn dropped_privileges_raise_nothing() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "dropped")?;
    let mut server = stage.actor("rt-server", 0)?;
    server.run("s = listening('127.0.0.1', 80, RP); t = bound('::', 53, RP, kind=SOCK_DGRAM)")?;
    // A worker under another user, which ends with its master.
    server.run(&format!(
        "child = forked(lambda: (os.setresuid({VICTIM}, {VICTIM}, {VICTIM}), LIBC.prctl(1, signal.SIGKILL)))"
    ))?;
    stage.assert_only(&[])?;
    server.run(&format!("end(child); os.setresuid({VICTIM}, {VICTIM}, {VICTIM})"))?;
    server.run("u = listening('127.0.0.1', 8080)")?;
    stage.assert_only(&[])
}
