//! Listeners on ports that the kernel gives to connections: counted by namespace, and listed by `doctor` with what mends it.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    daemon::{Daemon, Launch},
    namespace::Namespace,
    skip,
};
use serde_json::Value;

/// Two listeners and a datagram socket on ports of the range by their number; the others are reserved, outside, or not asked
/// for.
const SOCKETS: &str = "
inside = [listening('0.0.0.0', 2100), listening('127.0.0.1', 2101), bound('::', 2200, kind=SOCK_DGRAM)]
reserved = [listening('0.0.0.0', 2500), listening('::1', 2601), bound('0.0.0.0', 2600, kind=SOCK_DGRAM)]
outside = [listening('0.0.0.0', 1999), listening('0.0.0.0', 3000)]
chosen = [listening('0.0.0.0', 0), bound('0.0.0.0', 0, kind=SOCK_DGRAM)]
unheard = bound('127.0.0.1', 2102)
";

/// A namespace with a range of its own.
fn namespace(purpose: &str) -> Result<Namespace> {
    let namespace = Namespace::new(purpose)?;
    reserve(&namespace, "2500,2600-2601")?;
    set(&namespace, "ip_local_port_range", "2000 2999")?;
    Ok(namespace)
}

fn reserve(namespace: &Namespace, ports: &str) -> Result<()> {
    set(namespace, "ip_local_reserved_ports", ports)
}

fn set(namespace: &Namespace, name: &str, value: &str) -> Result<()> {
    namespace.run(|| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, value).context(path)
    })
}

fn counted(daemon: &Daemon, namespace: &Namespace, protocol: &str) -> Result<u64> {
    let filter = [("netns", namespace.name()), ("protocol", protocol)];
    Ok(daemon.metrics()?.count("reuse_listeners_in_ephemeral_range", &filter))
}

#[test]
fn listeners_on_ports_that_are_given_away_are_counted_by_namespace() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let namespace = namespace("ephemeral")?;
    let mut server = namespace.run(|| Actor::start("server"))?;
    server.run(SOCKETS)?;
    assert_eq!((counted(&daemon, &namespace, "tcp")?, counted(&daemon, &namespace, "udp")?), (2, 1));
    server.run("inside[0].close()\noutside += [listening('0.0.0.0', 2000), unheard.listen()]")?;
    assert_eq!(counted(&daemon, &namespace, "tcp")?, 3);
    server.end();
    daemon.metrics_until("no listener is left there", |metrics| {
        let filter = [("netns", namespace.name())];
        (metrics.count("reuse_listeners_in_ephemeral_range", &filter) == 0).then_some(())
    })
}

#[test]
fn the_test_group_is_not_counted_and_what_was_there_before_is() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = namespace("before")?;
    let mut server = namespace.run(|| Actor::start("server"))?;
    server.run(SOCKETS)?;
    let daemon = launch.start()?;
    // Who asked for which port is not known of those: the one whose port the kernel chose is counted, datagram sockets are not.
    assert_eq!((counted(&daemon, &namespace, "tcp")?, counted(&daemon, &namespace, "udp")?), (3, 0));
    let own = daemon.pid();
    let group = daemon.sockets()?.into_iter().filter(|socket| socket["owners"][0]["pid"] == own).count();
    assert!(group > 0, "the test group is there");
    let listed = doctor()?.context("a daemon to test")?;
    let listed = listed["listeners_in_ephemeral_range"].as_array().context("a list")?;
    let service = daemon.service_name()?;
    assert!(listed.iter().all(|listener| listener["service"] != service.as_str()), "{listed:?}");
    Ok(())
}

fn doctor() -> Result<Option<Value>> {
    let Some(binary) = skip::daemon_binary()? else { return Ok(None) };
    let output = Command::new(binary).args(["doctor", "--json"]).output()?;
    Ok(Some(serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?))
}

#[test]
fn doctor_lists_them_with_what_mends_it_and_ends_as_it_would_without() -> Result<()> {
    let Some(binary) = skip::daemon_binary()? else { return Ok(()) };
    let namespace = namespace("advice")?;
    let run = |flags: &[&str]| Command::new(&binary).arg("doctor").args(flags).output();
    let mut server = namespace.run(|| Actor::start("server"))?;
    server.run(SOCKETS)?;
    let port = server.run("answer = chosen[0].getsockname()[1]")?;
    let (json, text) = (run(&["--json"])?, run(&[])?);

    let listed: Value = serde_json::from_slice(&json.stdout)?;
    let Some(listed) = listed["listeners_in_ephemeral_range"].as_array() else {
        skip::skip("this kernel shows doctor no sockets");
        return Ok(());
    };
    let here: Vec<&Value> =
        listed.iter().filter(|listener| listener["netns_name"] == namespace.name()).collect();
    let shown: BTreeSet<(Option<&str>, Option<u64>)> =
        here.iter().map(|listener| (listener["address"].as_str(), listener["port"].as_u64())).collect();
    let expected = [("0.0.0.0", Some(2100)), ("127.0.0.1", Some(2101)), ("0.0.0.0", port.as_u64())];
    assert_eq!(shown, expected.map(|(address, port)| (Some(address), port)).into());
    let executable = server.executable()?;
    assert!(here.iter().all(|listener| listener["service"] == executable.as_str()), "{here:?}");

    // The remedy works as it stands.
    let remedy =
        here.first().and_then(|listener| listener["remedy"].as_str()).context("a remedy")?.to_owned();
    let (_, list) = remedy.split_once("ip_local_reserved_ports=").context("a list of ports")?;
    let list = list.split('`').next().unwrap_or_default();
    assert!(str::from_utf8(&text.stdout)?.contains(&remedy), "{remedy}");
    reserve(&namespace, list)?;
    let without = run(&[])?;
    assert_eq!((json.status, text.status), (without.status, without.status), "advice is no gap");
    let told = String::from_utf8(without.stdout)?;
    assert!(!told.contains(namespace.name()), "{told}");
    Ok(())
}
