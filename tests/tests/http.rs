//! The HTTP endpoints: what they answer, and that nothing a client sends stops them.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch},
    http,
    metrics::Metrics,
    prometheus,
    sockets::{Transport, free_port},
};

#[test]
fn metrics_are_prometheus_text() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let answer = http::get(daemon.web(), "/metrics")?;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").context("no content type")?;
    assert!(kind.starts_with("text/plain") && kind.contains("version=0.0.4"), "{kind}");
    let metrics = Metrics::parse(&answer.body)?;
    for (family, kind) in metrics.types() {
        assert!(metrics.help(family).is_some_and(|help| !help.is_empty()), "{family} has no help");
        assert!(family.starts_with("reuse_") || family.starts_with("process_"), "{family}");
        assert_eq!(kind == "counter", family.ends_with("_total"), "{family} is a {kind}");
    }
    Ok(())
}

#[test]
fn promtool_finds_nothing_to_improve() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let scrape = http::get(daemon.web(), "/metrics")?.body;
    let Some(output) = prometheus::promtool(Path::new("/"), &["check", "metrics"], &scrape)? else {
        return Ok(());
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{}: {said}", output.status);
    Ok(())
}

#[test]
fn the_families_of_this_path_are_there() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let metrics = daemon.metrics()?;
    for family in [
        "reuse_bind_attempts_total",
        "reuse_listen_attempts_total",
        "reuse_sockets",
        "reuse_test_group_probes_total",
        "reuse_daemon_build_info",
        "reuse_daemon_tier_active",
        "reuse_daemon_blind_spot",
        "reuse_daemon_ebpf_program_attached",
        "reuse_daemon_events_received_total",
        "reuse_daemon_events_lost_total",
        "reuse_daemon_map_entries",
        "reuse_daemon_map_capacity",
        "reuse_daemon_explained_total",
        "reuse_daemon_event_delay_seconds",
        "reuse_daemon_reconciliation_corrections_total",
        "reuse_daemon_config_last_reload_successful",
        "reuse_signals_total",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.types().contains_key(family), "no {family}");
    }
    for (what, blind) in
        [("compat", 0.0), ("implicit_listen", 0.0), ("implicit_sendto", 1.0), ("setsockopt", 0.0)]
    {
        assert_eq!(metrics.sum("reuse_daemon_blind_spot", &[("what", what)]), Some(blind), "{what}");
    }
    assert_eq!(metrics.sum("reuse_daemon_build_info", &[]), Some(1.0));
    Ok(())
}

#[test]
fn health_and_landing_page() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for path in ["/-/healthy", "/-/ready", "/", "/api/v1/status"] {
        assert_eq!(http::get(daemon.web(), path)?.status, 200, "{path}");
    }
    assert!(http::get(daemon.web(), "/")?.body.contains("/metrics"), "the landing page links the metrics");
    for name in ["sockets", "groups", "conflicts", "signals", "test-group", "status"] {
        let answer = http::get(daemon.web(), &format!("/api/v1/{name}"))?;
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "/api/v1/{name}: {kind}");
    }
    Ok(())
}

#[test]
fn wrong_paths_and_methods_are_refused() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for path in ["/nothing", "/api/v1/nothing", "/metrics/", "/-/quit", "//metrics", "/%00"] {
        assert_eq!(http::get(daemon.web(), path)?.status, 404, "{path}");
    }
    for path in ["/metrics", "/", "/-/ready", "/api/v1/sockets"] {
        for method in ["POST", "DELETE", "PUT"] {
            assert_eq!(http::request(daemon.web(), method, path)?.status, 405, "{method} {path}");
        }
    }
    Ok(())
}

#[test]
fn malformed_requests_leave_it_serving() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let huge = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(4 << 20));
    let many = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: 1\r\n".repeat(10_000));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p".repeat(1 << 20));
    let garbage: Vec<u8> = (0..=255).cycle().take(8_192).collect();
    let requests: [&[u8]; 7] =
        [b"", b"\r\n\r\n", b"GET\r\n\r\n", &garbage, huge.as_bytes(), many.as_bytes(), long_path.as_bytes()];
    for request in requests {
        let answer = http::exchange(daemon.web(), request)?;
        if !answer.is_empty() {
            let status = http::parse(&answer)?.status;
            assert!((400..500).contains(&status), "{status} to {:?}", &request[..request.len().min(40)]);
        }
        assert_eq!(http::get(daemon.web(), "/-/healthy")?.status, 200);
    }
    // Clients that go away: before, within and after a request.
    for sent in [&b""[..], b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut client = http::open(daemon.web())?;
        client.write_all(sent)?;
        drop(client);
    }
    // Clients that stay and say nothing must not keep others waiting.
    let silent: Vec<_> = (0..50).map(|_| http::open(daemon.web())).collect::<Result<_>>()?;
    assert_eq!(http::get(daemon.web(), "/metrics")?.status, 200);
    drop(silent);
    daemon.stop_cleanly()?;
    Ok(())
}

#[test]
fn the_telemetry_path_can_be_chosen() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--web.telemetry-path", "/custom"])? else { return Ok(()) };
    assert_eq!(http::get(daemon.web(), "/metrics")?.status, 404);
    let answer = http::get(daemon.web(), "/custom")?;
    assert_eq!(answer.status, 200);
    Metrics::parse(&answer.body)?;
    assert!(http::get(daemon.web(), "/")?.body.contains("/custom"), "the landing page links it");
    Ok(())
}

#[test]
fn two_addresses_are_served() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let second =
        SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Transport::Tcp, Ipv4Addr::LOCALHOST.into())?));
    let daemon = launch.flags(["--web.listen-address", &second.to_string()]).start()?;
    for address in [daemon.web(), second] {
        assert_eq!(http::get(address, "/metrics")?.status, 200, "{address}");
    }
    Ok(())
}
