//! The daemon's own test group: predicted, delivered and accepted agree for every probe.

use anyhow::Result;
use reuse_tests::{
    daemon::{Daemon, Launch},
    metrics::Metrics,
    sockets::{Transport, free_port},
};

const PAIRS: [(&str, &str); 4] = [("tcp", "ipv4"), ("tcp", "ipv6"), ("udp", "ipv4"), ("udp", "ipv6")];
const FAST: [&str; 2] = ["--test-group.probes-per-second", "400"];

fn probes(metrics: &Metrics, pair: (&str, &str), result: &str) -> u64 {
    let labels = [("protocol", pair.0), ("family", pair.1), ("result", result)];
    metrics.count("reuse_test_group_probes_total", &labels)
}

/// Waits until each protocol and family has this many probes that agreed.
fn until_matched(daemon: &Daemon, wanted: u64) -> Result<Metrics> {
    daemon.metrics_until(&format!("{wanted} probes of every protocol and family"), |metrics| {
        PAIRS.iter().all(|pair| probes(metrics, *pair, "match") >= wanted).then(|| metrics.clone())
    })
}

#[test]
fn every_probe_matches_and_none_is_lost() -> Result<()> {
    let Some(daemon) = Daemon::shared(&FAST)? else { return Ok(()) };
    let metrics = until_matched(&daemon, 200)?;
    for pair in PAIRS {
        for result in ["mismatch", "lost"] {
            assert_eq!(probes(&metrics, pair, result), 0, "{pair:?} {result}");
            let labels = [("protocol", pair.0), ("family", pair.1), ("result", result)];
            assert!(
                metrics.sum("reuse_test_group_probes_total", &labels).is_some(),
                "starts at 0: {labels:?}"
            );
        }
    }
    let events = daemon.events()?;
    assert!(!events.iter().any(|event| event["type"] == "test_group"), "an event without a mismatch");
    Ok(())
}

#[test]
fn the_three_answers_agree_member_by_member() -> Result<()> {
    let Some(daemon) = Daemon::shared(&FAST)? else { return Ok(()) };
    let metrics = until_matched(&daemon, 200)?;
    for (protocol, family) in PAIRS {
        let mut total = 0;
        for member in ["0", "1", "2", "3"] {
            let labels = [("protocol", protocol), ("family", family), ("member", member)];
            let [predicted, delivered, accepted] = ["predicted", "delivered", "accepted"]
                .map(|answer| metrics.count(&format!("reuse_test_group_{answer}_total"), &labels));
            assert_eq!((predicted, predicted), (delivered, accepted), "{labels:?}");
            // 200 probes over four members: one without any has a chance of 10^-25.
            assert!(predicted > 0, "no probe reached {labels:?}");
            total += predicted;
        }
        assert_eq!(total, probes(&metrics, (protocol, family), "match"), "{protocol} {family}");
        let labels = [("protocol", protocol), ("family", family)];
        assert_eq!(
            metrics.series("reuse_test_group_predicted_total", &labels).count(),
            4,
            "members of {protocol} {family}"
        );
    }
    Ok(())
}

#[test]
fn each_probe_is_timed() -> Result<()> {
    let Some(daemon) = Daemon::shared(&FAST)? else { return Ok(()) };
    let metrics = until_matched(&daemon, 50)?;
    for pair in PAIRS {
        let labels = [("protocol", pair.0), ("family", pair.1)];
        let timed = metrics.count("reuse_test_group_probe_duration_seconds_count", &labels);
        assert_eq!(timed, probes(&metrics, pair, "match"), "{pair:?}");
    }
    Ok(())
}

#[test]
fn the_api_shows_the_same_group() -> Result<()> {
    let Some(daemon) = Daemon::shared(&FAST)? else { return Ok(()) };
    until_matched(&daemon, 10)?;
    let shown = daemon.api("test-group")?.to_string();
    for word in ["tcp", "udp", "ipv4", "ipv6", "match", "mismatch", "lost"] {
        assert!(shown.contains(word), "{word} is not in {shown}");
    }
    Ok(())
}

#[test]
fn the_number_of_members_can_be_chosen() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--test-group.members", "3", FAST[0], FAST[1]])? else {
        return Ok(());
    };
    let metrics = until_matched(&daemon, 100)?;
    for (protocol, family) in PAIRS {
        let labels = [("protocol", protocol), ("family", family)];
        assert_eq!(metrics.series("reuse_test_group_predicted_total", &labels).count(), 3, "{labels:?}");
        assert_eq!(probes(&metrics, (protocol, family), "mismatch"), 0, "{labels:?}");
    }
    Ok(())
}

#[test]
fn it_can_be_switched_off() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--test-group.enable=false"])? else { return Ok(()) };
    let metrics = daemon.metrics()?;
    assert_eq!(metrics.count("reuse_test_group_probes_total", &[]), 0);
    let pid = daemon.pid();
    let own: Vec<_> = daemon
        .sockets()?
        .into_iter()
        .filter(|socket| {
            socket["owners"].as_array().is_some_and(|owners| owners.iter().any(|o| o["pid"] == pid))
        })
        .collect();
    let web = own.iter().filter(|socket| socket["port"] == daemon.web().port()).count();
    assert_eq!((own.len(), web), (1, 1), "the daemon has sockets beside its HTTP listener: {own:?}");
    Ok(())
}

#[test]
fn the_port_can_be_chosen() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let port = free_port(Transport::Tcp, std::net::Ipv4Addr::LOCALHOST.into())?;
    let daemon = launch.flags(["--test-group.port", &port.to_string()]).flags(FAST).start()?;
    until_matched(&daemon, 10)?;
    let pid = daemon.pid();
    for (protocol, family) in PAIRS {
        let members = daemon
            .sockets()?
            .into_iter()
            .filter(|socket| {
                let owned =
                    socket["owners"].as_array().is_some_and(|owners| owners.iter().any(|o| o["pid"] == pid));
                owned
                    && socket["port"] == port
                    && socket["protocol"] == protocol
                    && socket["family"] == family
            })
            .filter(|socket| socket["state"] == if protocol == "tcp" { "listen" } else { "bound" })
            .count();
        assert_eq!(members, 4, "{protocol} {family} on port {port}");
    }
    Ok(())
}
