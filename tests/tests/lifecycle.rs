//! Starting and stopping: nothing stays in the kernel, nothing of ours is mistaken for the host's.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reuse_tests::{
    bpf,
    daemon::{Daemon, Launch, parse_events},
    deadline, effort,
    events::foreign_binds,
    generator::Group,
    sockets::{self, Transport},
};
use serde_json::Value;

/// Programs and maps are freed after a grace period of the kernel.
const FREED: Duration = Duration::from_secs(5);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn nothing_left(before: &bpf::Objects) -> Result<()> {
    let mut left = bpf::Objects::new();
    let outcome = deadline::until("everything is unloaded", FREED, || {
        left = bpf::left_behind(before)?;
        Ok(left.is_empty().then_some(()))
    });
    outcome.with_context(|| format!("left in the kernel: {left:?}"))
}

/// Whether a program decides for the socket's group: detaching one that is not there is ENOENT
/// (`reuseport_detach_prog` in `net/core/sock_reuseport.c`).
fn has_program(socket: &socket2::Socket) -> Result<bool> {
    match sockets::set(socket, libc::SOL_SOCKET, libc::SO_DETACH_REUSEPORT_BPF, 0) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error).context("SO_DETACH_REUSEPORT_BPF"),
    }
}

#[test]
fn sigterm_and_sigint_stop_it_cleanly() -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let before = if nix::unistd::geteuid().is_root() { bpf::loaded()? } else { bpf::Objects::new() };
        let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
        let loaded = bpf::loaded()?;
        ensure!(loaded != before, "no program is loaded while the daemon runs");
        let web = daemon.web();
        let stopped = daemon.stop(signal)?;
        assert_eq!(stopped.status.code(), Some(0), "{signal}: {}\n{}", stopped.status, stopped.stderr);
        assert!(!stopped.stderr.contains("panicked"), "{}", stopped.stderr);
        assert!(reuse_tests::http::get(web, "/").is_err(), "the port is free again");
        nothing_left(&before).with_context(|| signal.to_string())?;
    }
    Ok(())
}

#[test]
fn a_kill_leaves_nothing_either() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let before = bpf::loaded()?;
    launch.start()?.stop(Signal::SIGKILL)?;
    nothing_left(&before)
}

#[test]
fn ten_starts_and_stops_leak_nothing() -> Result<()> {
    if Launch::prepare()?.is_none() {
        return Ok(());
    }
    let before = bpf::loaded()?;
    for _ in 0..effort::fewer_but(10_u8, 3, "starts") {
        let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
        daemon.stop_cleanly()?;
    }
    nothing_left(&before)
}

#[test]
fn no_program_is_put_on_others_groups() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let early = [Group::open(Transport::Tcp, LOOPBACK, 2)?, Group::open(Transport::Udp, LOOPBACK, 2)?];
    let daemon = launch.start()?;
    let late = [Group::open(Transport::Tcp, LOOPBACK, 2)?, Group::open(Transport::Udp, LOOPBACK, 2)?];
    for group in early.iter().chain(&late) {
        reuse_tests::groups::of_inode(&daemon, group.inode()?)?;
        assert!(!has_program(&group.members()[0])?, "a program on {} while running", group.address());
    }
    daemon.stop_cleanly()?;
    for group in early.iter().chain(&late) {
        assert!(!has_program(&group.members()[0])?, "a program on {} after the stop", group.address());
    }
    Ok(())
}

#[test]
fn its_own_sockets_are_no_one_s_attempts() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.flags(["--test-group.probes-per-second", "200"]).start()?;
    daemon.metrics_until("probes were sent", |metrics| {
        (metrics.count("reuse_test_group_probes_total", &[("result", "match")]) >= 100).then_some(())
    })?;
    let pid = daemon.pid();
    let (attempts, foreign) = deadline::until("a quiet moment", deadline::PROMPT, || {
        let earlier = foreign_binds(&daemon.events()?);
        let attempts = daemon.bind_attempts()?.internet_only();
        let later = foreign_binds(&daemon.events()?);
        Ok((earlier == later).then_some((attempts, later)))
    })?;
    assert_eq!(attempts, foreign, "attempts:\n{attempts}of others:\n{foreign}");
    let events = daemon.events()?;
    assert!(!events.iter().any(|event| event["contender"]["pid"] == pid), "an event of its own: {events:?}");
    let groups = daemon.groups()?;
    let own = groups.iter().find(|group| {
        group["members"].as_array().is_some_and(|members| {
            members
                .iter()
                .any(|m| m["owners"].as_array().is_some_and(|owners| owners.iter().any(|o| o["pid"] == pid)))
        })
    });
    assert_eq!(own, None, "its test group is listed among the host's");
    // Its sockets close at its end, while the programs are still attached.
    let told = parse_events(&daemon.stop_cleanly()?.stdout)?;
    let of_daemon = |event: &&Value| {
        let owners = event["owners"].as_array().map(Vec::as_slice).unwrap_or_default();
        owners.iter().any(|owner| owner["pid"] == pid)
    };
    let own: Vec<&Value> = told.iter().filter(of_daemon).collect();
    assert!(own.is_empty(), "events of its own sockets: {own:?}");
    Ok(())
}

#[test]
fn ready_means_that_everything_is_attached() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let metrics = daemon.metrics()?;
    let mut programs = 0;
    for (labels, attached) in metrics.series("reuse_daemon_ebpf_program_attached", &[]) {
        assert!(attached == 1.0, "not attached: {labels:?}");
        programs += 1;
    }
    assert!(programs >= 4, "{programs} programs");
    println!("start to ready: {:?}", daemon.start_to_ready);
    Ok(())
}
