//! Refusals no socket causes: rights, addresses, programs of control groups, seccomp filters. What refused is told, and no
//! holder is made up.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use reuse_tests::{
    actor::Actor,
    cgroup::Group,
    cgroup_program::{self, Hook},
    conflicts::assert_remedy,
    daemon::{Daemon, Launch},
    events::assert_fields,
    metrics::Metrics,
    namespace::Namespace,
    user,
};
use serde_json::{Value, json};

/// Has `actor` run what the kernel must refuse, and gives the event. `confidence` "any" is not checked.
fn refused(
    daemon: &Daemon,
    actor: &mut Actor,
    statement: &str,
    errno: &str,
    [rule, confidence]: [&str; 2],
) -> Result<Value> {
    let before = daemon.metrics()?;
    let start = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?).as_nanos();
    assert_eq!(actor.refused(statement)?, errno, "{statement}");
    let pid = actor.pid();
    let event = daemon.wait_event("the refusal", |event| {
        event["type"] == "conflict"
            && event["contender"]["pid"] == pid
            && event["boottime_ns"].as_u64().is_some_and(|at| u128::from(at) >= start)
    })?;
    assert_fields(
        &event,
        &json!({
            "result": errno, "rule": rule, "holders": [], "decided_by": null, "truncated": false, "repeated": 1,
        }),
    );
    assert!(confidence == "any" || event["confidence"] == confidence, "{confidence}: {event}");
    assert_fields(&event["contender"], &json!({ "comm": actor.comm(), "executable": actor.executable()? }));
    assert!(event["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "no remedy: {event}");

    let phase = event["phase"].as_str().context("phase")?;
    let labels = [("phase", phase), ("errno", errno), ("rule", rule)];
    let count = |metrics: &Metrics| metrics.count("reuse_bind_refusals_total", &labels);
    let now = daemon.metrics_until("the refusal is counted by its rule", |now| {
        (count(now) > count(&before)).then(|| now.clone())
    })?;
    let unknown = |metrics: &Metrics| metrics.count("reuse_daemon_explained_total", &[("result", "unknown")]);
    assert_eq!(unknown(&now), unknown(&before), "a refusal unexplained: {event}");
    let address = event["contender"]["address"].as_str().context("address")?;
    let port = event["contender"]["port"].to_string();
    let place =
        [("address", address), ("port", if port == "0" { "ephemeral" } else { &port }), ("rule", rule)];
    let conflicts = |metrics: &Metrics| metrics.count("reuse_port_conflicts_total", &place);
    assert_eq!(conflicts(&now), conflicts(&before), "no socket was in the way: {event}");
    Ok(event)
}

const EXACT: &str = "exact";

#[test]
fn a_privileged_port_needs_the_capability() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("privileged")?;
    let daemon = launch.start()?;
    let start = || Actor::start("rt-nobody");
    let (mut outside, mut inside) = (start()?, namespace.run(start)?);
    namespace.run(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "2000")?))?;
    for actor in [&mut outside, &mut inside] {
        actor.run(&format!("os.setresuid({0}, {0}, {0})", user::NOBODY))?;
    }
    for statement in ["bound('127.0.0.1', 80)", "bound('::1', 80)", "bound('0.0.0.0', 1023, kind=SOCK_DGRAM)"]
    {
        let event = refused(&daemon, &mut outside, statement, "EACCES", ["privileged_port", EXACT])?;
        assert_remedy(&event, &["CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start"]);
        assert_fields(&event["contender"], &json!({ "uid": user::NOBODY, "socket_uid": user::NOBODY }));
    }
    outside.run("bound('127.0.0.1', 1999).close()").context("where ports below 1024 are privileged")?;
    // The limit is the namespace's own.
    let event =
        refused(&daemon, &mut inside, "bound('127.0.0.1', 1999)", "EACCES", ["privileged_port", EXACT])?;
    assert_remedy(&event, &["1999"]);
    Ok(())
}

/// Which is checked first differs by family: for IPv4 the address, for IPv6 the privilege.
#[test]
fn an_address_that_is_not_local_is_told_before_or_after_the_privilege() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-nobody")?;
    let not_local = ["address_not_local", EXACT];
    let event = refused(&daemon, &mut actor, "bound('192.0.2.7', 8080)", "EADDRNOTAVAIL", not_local)?;
    assert_remedy(&event, &["192.0.2.7", "IP_FREEBIND"]);
    let event = refused(&daemon, &mut actor, "bound('2001:db8::7', 8080)", "EADDRNOTAVAIL", not_local)?;
    assert_remedy(&event, &["2001:db8::7"]);
    actor.run(&format!("os.setresuid({0}, {0}, {0})", user::NOBODY))?;
    refused(&daemon, &mut actor, "bound('192.0.2.7', 80)", "EADDRNOTAVAIL", not_local)?;
    refused(&daemon, &mut actor, "bound('2001:db8::7', 80)", "EACCES", ["privileged_port", EXACT])?;
    Ok(())
}

#[test]
fn a_socket_binds_once() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-twice")?;
    for address in ["127.0.0.1", "::1"] {
        actor.run(&format!("h = bound('{address}', 0)"))?;
        let port = actor.facts("h")?["port"].clone();
        let statement = format!("h.bind(('{address}', 4321))");
        let event = refused(&daemon, &mut actor, &statement, "EINVAL", ["already_bound", EXACT])?;
        assert_remedy(&event, &[&port.to_string()]);
    }
    Ok(())
}

/// A process in a group whose program says no at `hook` runs `statement`.
fn refused_by_program(daemon: &Daemon, hook: Hook, statement: &str) -> Result<()> {
    let Some(group) = Group::new("rt-denied.service")? else { return Ok(()) };
    let mut actor = Actor::start("rt-denied")?;
    actor.run(&format!("{statement}.close()")).context("before it is in the group")?;
    group.take(actor.pid())?;
    cgroup_program::forbid(&group, hook)?;
    let event = refused(daemon, &mut actor, statement, "EPERM", ["cgroup_program", EXACT])
        .with_context(|| format!("{hook:?}"))?;
    assert_remedy(&event, &["BPF program", "cgroup"]);
    assert_eq!(event["contender"]["service"], "rt-denied.service", "{event}");
    Ok(())
}

#[test]
fn a_program_of_the_control_group_forbids_bind() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    refused_by_program(&daemon, Hook::Bind4, "bound('127.0.0.1', 0)")?;
    refused_by_program(&daemon, Hook::Bind4, "bound('0.0.0.0', 4321, kind=SOCK_DGRAM)")?;
    refused_by_program(&daemon, Hook::Bind6, "bound('::1', 0)")
}

/// The port was free and taken, and the program made the kernel give it back.
#[test]
fn a_program_of_the_control_group_undoes_bind() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    refused_by_program(&daemon, Hook::PostBind4, "bound('127.0.0.1', 0)")
}

/// Has a process bind under a filter that answers it with `errno`.
fn refused_by_filter(daemon: &Daemon, port: u16, errno: &str, expected: [&str; 2]) -> Result<()> {
    let mut actor = Actor::start("rt-filtered")?;
    actor.run(&format!("h = opened('127.0.0.1'); forbid({}, errno.{errno})", libc::SYS_bind))?;
    let event = refused(daemon, &mut actor, &format!("h.bind(('127.0.0.1', {port}))"), errno, expected)?;
    let remedy = if expected[0] == "seccomp" { "seccomp filter" } else { "security module" };
    assert_remedy(&event, &[remedy]);
    assert_eq!(event["phase"], "bind");
    Ok(())
}

/// A filter answers before the kernel looks at anything, with the errno of its choice.
#[test]
fn a_seccomp_filter_forbids_bind() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    refused_by_filter(&daemon, 4321, "EPERM", ["seccomp", EXACT])?;
    refused_by_filter(&daemon, 4322, "EADDRINUSE", ["seccomp", "best_evidence"])
}

/// The port is not privileged, so nothing but a filter or a security module gives this errno: on a kernel with a module
/// that has a policy for every process, the module is the likelier.
#[test]
fn a_seccomp_filter_denies_bind() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let active = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let policed =
        active.trim().split(',').any(|name| ["selinux", "apparmor", "smack", "tomoyo"].contains(&name));
    let expected = if policed { ["security_module", "best_evidence"] } else { ["seccomp", "any"] };
    refused_by_filter(&daemon, 4323, "EACCES", expected)
}

#[test]
fn a_seccomp_filter_forbids_listen() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-filtered")?;
    actor.run(&format!("h = bound('127.0.0.1', 0); forbid({}, errno.EPERM)", libc::SYS_listen))?;
    let event = refused(&daemon, &mut actor, "h.listen()", "EPERM", ["seccomp", EXACT])?;
    assert_remedy(&event, &["seccomp filter"]);
    assert_eq!(event["phase"], "listen");
    Ok(())
}
