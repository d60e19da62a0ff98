//! Rules and dashboards against a real Prometheus that scrapes the real daemon.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    daemon::{Daemon, Launch},
    dashboard, deadline,
    generator::{self, Group, Traffic},
    prometheus::{Prometheus, installed, promtool},
    signals::{Stage, TAKER, VICTIM},
    sockets::{self, Transport},
};
use serde_json::Value;
use socket2::SockAddr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Enough for a few scrapes and evaluations at one a second.
const SCRAPED: Duration = Duration::from_secs(30);

/// Families that nothing feeds on this host or in this version, with the reason; whatever names none of them must have
/// data.
const WITHOUT_DATA: [(&str, &str); 5] = [
    ("reuse_group_verdict", "two windows of ten minutes must have closed"),
    ("reuse_test_group_uniformity", "flows are not judged yet"),
    ("reuse_test_group_flow_moves_total", "members are not moved yet"),
    ("reuse_daemon_ebpf_program_run", "absent while kernel.bpf_stats_enabled is 0"),
    ("reuse_daemon_series_overflow_total", "a family appears when it overflows"),
];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn rule_files(directory: &str) -> Result<Vec<String>> {
    let directory = deploy(directory);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        files.push(entry?.path().to_string_lossy().into_owned());
    }
    anyhow::ensure!(!files.is_empty(), "nothing in {}", directory.display());
    Ok(files)
}

/// Prometheus with the rules of `deploy/`, scraping `daemon` every second.
fn server(daemon: &Daemon) -> Result<Option<Prometheus>> {
    if !installed("prometheus") {
        return Ok(None);
    }
    let rules: Vec<String> =
        rule_files("prometheus/rules")?.iter().map(|file| format!("  - {file}\n")).collect();
    Prometheus::start(&format!(
        "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files:\n{}scrape_configs:\n  \
         - job_name: reuse-daemon\n    static_configs:\n      - targets: [\"{}\"]\n",
        rules.concat(),
        daemon.web()
    ))
}

/// Binds, refusals, listens and selections, so that the panels have something to show.
fn traffic(tcp: &Group, udp: &Group) -> Result<()> {
    generator::binds(100, 30)?;
    generator::connections(tcp, 50, 2)?;
    generator::datagrams(udp, Traffic { count: 500, threads: 2, read_late: false })?;
    Ok(())
}

fn promtool_passes(directory: &Path, arguments: &[&str]) -> Result<()> {
    let Some(output) = promtool(directory, arguments, "")? else { return Ok(()) };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    Ok(())
}

/// Two users who share a port.
fn share(stage: &Stage<'_>) -> Result<[Actor; 2]> {
    let mut sharing = [stage.actor("rt-victim", VICTIM)?, stage.actor("rt-taker", TAKER)?];
    for one in &mut sharing {
        one.run("s = bound('127.0.0.1', 4242, RA, kind=SOCK_DGRAM)")?;
    }
    Ok(sharing)
}

#[test]
fn every_panel_s_query_is_answered() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--test-group.probes-per-second", "100"])? else { return Ok(()) };
    let Some(prometheus) = server(&daemon)? else { return Ok(()) };
    let stage = Stage::new(&daemon, "panels")?;
    let _sharing = share(&stage)?;
    let tcp = Group::open(Transport::Tcp, LOOPBACK, 2)?;
    let udp = Group::open(Transport::Udp, LOOPBACK, 2)?;
    let mut open = dashboard::queries(&deploy("grafana"))?;
    let mut failures = Vec::new();
    open.retain(|query| match prometheus.query(&query.expression) {
        Ok(_) => !WITHOUT_DATA.iter().any(|(family, _)| query.expression.contains(family)),
        Err(error) => {
            failures.push(format!("{}: {error:#}", query.title));
            false
        }
    });
    assert!(failures.is_empty(), "refused by Prometheus:\n{}", failures.join("\n"));

    let outcome = deadline::until("every panel has data", SCRAPED, || {
        // Rates need a counter that moves between scrapes.
        traffic(&tcp, &udp)?;
        let mut without = Vec::new();
        for query in &open {
            if prometheus.query(&query.expression)?.is_empty() {
                without.push(query.clone());
            }
        }
        open = without;
        Ok(open.is_empty().then_some(()))
    });
    outcome.with_context(|| format!("no data for {open:#?}"))
}

#[test]
fn every_rule_evaluates_and_the_healthy_ones_stay_quiet() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.start()?;
    let Some(prometheus) = server(&daemon)? else { return Ok(()) };
    let rules = deadline::until("every rule was evaluated", SCRAPED, || {
        let rules = all_rules(&prometheus)?;
        let evaluated = |rule: &Value| rule["health"] != "unknown";
        Ok((!rules.is_empty() && rules.iter().all(evaluated)).then_some(rules))
    })?;
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    deadline::until("the daemon is scraped", SCRAPED, || {
        Ok((!prometheus.query("reuse_daemon_build_info")?.is_empty()).then_some(()))
    })?;

    let holder = sockets::bound(Transport::Tcp, (Ipv4Addr::LOCALHOST, 0).into())?;
    let contender = sockets::open(Transport::Tcp, LOOPBACK)?;
    contender.bind(&SockAddr::from(sockets::local_address(&holder)?)).err().context("the port is held")?;
    let rules = deadline::until("the alert on a bind conflict", SCRAPED, || {
        let rules = all_rules(&prometheus)?;
        let conflict = |rule: &Value| rule["name"] == "ReuseBindConflict" && rule["state"] != "inactive";
        Ok(rules.iter().any(conflict).then_some(rules))
    })?;
    // Prometheus itself listens on a port that was free, and so one that the kernel gives away.
    let expected = ["ReuseBindConflict", "ReuseListenerInEphemeralRange"].map(Value::from);
    for rule in rules {
        assert!(rule["state"] == "inactive" || expected.contains(&rule["name"]), "{rule}");
    }

    let stage = Stage::new(&daemon, "alert")?;
    let sharing = share(&stage)?;
    let is_firing = |rule: &Value| rule["name"] == "ReusePortHijackSignal" && rule["state"] == "firing";
    let alert = deadline::until("the alert on a hijack", SCRAPED, || {
        Ok(all_rules(&prometheus)?.into_iter().find(is_firing))
    })?;
    let told = &alert["alerts"][0]["annotations"];
    let summary = format!(
        "foreign_uid_share at udp 127.0.0.1 port 4242 on {} (network namespace {})",
        daemon.web(),
        stage.namespace().name()
    );
    assert_eq!(told["summary"], summary, "{alert}");
    drop(sharing);
    deadline::until("the alert ends with the hijack", SCRAPED, || {
        Ok((!all_rules(&prometheus)?.iter().any(is_firing)).then_some(()))
    })
}

fn all_rules(prometheus: &Prometheus) -> Result<Vec<Value>> {
    let answer = prometheus.api("rules")?;
    let groups = answer["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rules = groups.iter().filter_map(|group| group["rules"].as_array());
    Ok(rules.flatten().filter(|rule| rule["type"] == "alerting").cloned().collect())
}

#[test]
fn rules_and_scrape_example_pass_promtool() -> Result<()> {
    if !installed("promtool") {
        return Ok(());
    }
    let rules = rule_files("prometheus/rules")?;
    for file in &rules {
        promtool_passes(&deploy("prometheus"), &["check", "rules", file])?;
    }
    promtool_passes(&deploy("prometheus"), &["check", "config", "prometheus.yml"])
}

#[test]
fn the_tests_of_the_rules_pass() -> Result<()> {
    if !installed("promtool") {
        return Ok(());
    }
    for file in rule_files("prometheus/tests")? {
        promtool_passes(&deploy("prometheus/tests"), &["test", "rules", &file])?;
    }
    Ok(())
}
