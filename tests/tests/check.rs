//! `check`: each claim has the verdict that is documented, nothing is left behind, and the daemon shows the verdicts and
//! nothing of how they came about.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    namespace, skip,
};
use serde_json::Value;

/// What Linux 6.1 to 6.19 make of each claim.
const VERDICTS: [(&str, &str); 23] = [
    ("same_address_refused", "holds"),
    ("distinct_ports_coexist", "holds"),
    ("distinct_addresses_coexist", "holds"),
    ("wildcard_conflicts_with_specific", "holds"),
    ("wildcard_with_reuseaddr_bound", "holds"),
    ("wildcard_with_reuseaddr_listening", "does_not_hold"),
    ("wildcard_with_reuseaddr_udp", "holds"),
    ("time_wait_blocks_bind", "holds_with_conditions"),
    ("time_wait_reuseaddr_new_only", "does_not_hold"),
    ("time_wait_reuseaddr_both", "holds"),
    ("time_wait_duration", "not_tried"),
    ("time_wait_tcp_only", "holds"),
    ("reuseaddr_only_at_bind", "does_not_hold"),
    ("reuseaddr_existing_flags_ignored", "does_not_hold"),
    ("reuseport_any_number", "holds_with_conditions"),
    ("reuseport_all_must_set", "holds_with_conditions"),
    ("reuseport_same_uid", "holds_with_conditions"),
    ("reuseport_even_distribution", "holds_with_conditions"),
    ("reuseport_four_tuple_hash", "holds_with_conditions"),
    ("reuseport_sticky", "holds"),
    ("reuseport_sticky_after_join", "does_not_hold"),
    ("reuseport_sticky_after_leave", "does_not_hold"),
    ("udp_reuseaddr_respects_uid", "does_not_hold"),
];
/// How long a whole run may take
const LONGEST: Duration = Duration::from_secs(20);

/// include/uapi/linux/capability.h
const CAP_SETUID: libc::c_ulong = 7;

fn check(binary: &Path, arguments: &[&str]) -> Result<(Value, Option<i32>)> {
    report(Command::new(binary).arg("check").args(arguments).arg("--json"))
}

/// What it prints, and its exit status.
fn report(command: &mut Command) -> Result<(Value, Option<i32>)> {
    let output = command.output()?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((serde_json::from_slice(&output.stdout).context(complaint)?, output.status.code()))
}

#[test]
fn every_claim_has_its_documented_verdict() -> Result<()> {
    let Some(binary) = skip::daemon_binary()? else { return Ok(()) };
    let began = Instant::now();
    let (report, status) = check(&binary, &[])?;
    let took = began.elapsed();
    let claims = report["claims"].as_array().context("no claims")?;
    let verdicts: Vec<_> = claims
        .iter()
        .map(|claim| {
            (claim["claim"].as_str().unwrap_or_default(), claim["verdict"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(verdicts, VERDICTS, "{report:#}");
    for claim in claims {
        assert_eq!(claim["expected_for_kernel"], true, "{claim:#}");
        assert!(claim["evidence"].as_array().is_some_and(|sentences| !sentences.is_empty()), "{claim:#}");
    }
    assert_eq!(status, Some(0));
    assert!(took < deadline::scaled(LONGEST), "it took {took:?}");
    Ok(())
}

#[test]
fn what_cannot_be_tried_is_said_with_a_status_of_its_own() -> Result<()> {
    let Some(binary) = skip::daemon_binary()? else { return Ok(()) };
    let (slow, status) = check(&binary, &["--claim", "time_wait_duration"])?;
    assert_eq!((&slow["claims"][0]["verdict"], status), (&Value::from("not_tried"), Some(0)));
    // Who may make a namespace, but no socket of another user.
    let mut command = Command::new(&binary);
    command.args(["check", "--claim", "udp_reuseaddr_respects_uid", "--json"]);
    // SAFETY: a system call between fork and exec; what is not in the bounding set is not had after it.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_CAPBSET_DROP, CAP_SETUID, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let (untried, status) = report(&mut command)?;
    assert_eq!(status, Some(2), "{untried:#}");
    let evidence = untried["claims"][0]["evidence"][0].as_str().context("no evidence")?;
    assert!(evidence.contains("CAP_SETUID"), "{evidence}");
    Ok(())
}

/// Whether any process lives in this network namespace.
fn inhabited(number: u64) -> Result<bool> {
    let wanted = format!("net:[{number}]");
    for process in fs::read_dir("/proc")? {
        let namespace = fs::read_link(process?.path().join("ns/net"));
        if namespace.is_ok_and(|link| link.as_os_str().to_string_lossy() == wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_check_that_is_killed_leaves_nothing_behind() -> Result<()> {
    let Some(binary) = skip::daemon_binary()? else { return Ok(()) };
    let host = namespace::inode()?;
    let mut child = Command::new(&binary)
        .args(["check", "--supervised"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("stdout")?).read_line(&mut line)?;
    let number: u64 = line.trim().parse().context(line)?;
    ensure!(number != host, "it is in the namespace of who started it");
    let sockets = format!("/proc/{}/net/udp", child.id());
    child.stdin.take().context("stdin")?.write_all(b"\n")?;
    deadline::until("it has sockets of its own", LONGEST, || {
        Ok((fs::read_to_string(&sockets)?.lines().count() > 3).then_some(()))
    })?;
    assert!(inhabited(number)?);
    child.kill()?;
    child.wait()?;
    assert!(!inhabited(number)?, "something still runs in the namespace");
    Ok(())
}

/// The processes that a process started and did not wait for yet.
fn children(pid: u32) -> Result<Vec<u32>> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.context("the kernel lists no children")?;
    listed.split_whitespace().map(|pid| pid.parse().context("a pid")).collect()
}

/// Waits for the verdicts; they must come without anything else of the check.
fn verdicts_and_nothing_else(daemon: &Daemon) -> Result<()> {
    let verdicts = deadline::until("the daemon has verdicts", 3 * LONGEST, || {
        // A scrape would take the processor from the check.
        if !children(daemon.pid())?.is_empty() {
            return Ok(None);
        }
        let metrics = daemon.metrics()?;
        let series = metrics.series("reuse_claim_verdict", &[("claim", "same_address_refused")]);
        let tried = series.map(|(labels, _)| labels["verdict"].clone()).any(|verdict| verdict == "holds");
        Ok(tried.then_some(metrics))
    })?;
    let series = verdicts.series("reuse_claim_verdict", &[]);
    let found: BTreeMap<_, _> =
        series.map(|(labels, _)| (labels["claim"].clone(), labels["verdict"].clone())).collect();
    let expected = VERDICTS.map(|(claim, verdict)| (claim.to_owned(), verdict.to_owned()));
    assert_eq!(found, BTreeMap::from(expected));
    assert_eq!(children(daemon.pid())?, Vec::<u32>::new(), "the check is still there");
    nothing_is_told(daemon)
}

/// Nothing of what the check did is an event, a refusal, a group or a loss.
fn nothing_is_told(daemon: &Daemon) -> Result<()> {
    let metrics = daemon.metrics()?;
    let own = daemon.service_name()?;
    let events = daemon.events()?;
    let told: Vec<_> = events
        .iter()
        .filter(|event| {
            let ports = 20_000..30_000;
            event["contender"]["executable"] == own.as_str()
                || event["socket"]["port"].as_u64().is_some_and(|port| ports.contains(&port))
                || event["port"].as_u64().is_some_and(|port| ports.contains(&port))
        })
        .collect();
    assert!(told.is_empty(), "{} events of the check, the first: {:#}", told.len(), told[0]);
    for family in ["reuse_port_conflicts_total", "reuse_bind_refusals_total"] {
        assert_eq!(metrics.count(family, &[("contender", &own)]), 0, "{family}");
    }
    for name in metrics.types().keys().filter(|name| name.starts_with("reuse_group_")) {
        let of_check = metrics.series(name, &[]).find(|(labels, _)| {
            labels.get("port").is_some_and(|port| port.len() == 5 && port.starts_with('2'))
        });
        assert!(of_check.is_none(), "{name}{of_check:?}");
    }
    for stage in ["selection_unattributed", "ring_call", "ring_close"] {
        assert_eq!(metrics.count("reuse_daemon_events_lost_total", &[("stage", stage)]), 0, "{stage}");
    }
    let unseen = [("kind", "unseen_bind")];
    let lost: Vec<_> =
        metrics.series("reuse_daemon_events_lost_total", &[]).filter(|(_, lost)| *lost > 0.0).collect();
    let unseen = metrics.count("reuse_daemon_reconciliation_corrections_total", &unseen);
    assert_eq!(unseen, 0, "binds went by unseen; lost: {lost:?}");
    Ok(())
}

#[test]
fn the_daemon_shows_verdicts_and_nothing_of_how_they_came_about() -> Result<()> {
    for flags in [&["--check.enable=true"][..], &["--check.enable=true", "--trace.syscalls=false"]] {
        let Some(launch) = Launch::prepare()? else { return Ok(()) };
        let daemon = launch.flags(flags.iter().copied()).start()?;
        verdicts_and_nothing_else(&daemon).with_context(|| daemon.stderr())?;
    }
    Ok(())
}

/// A daemon, the check that it started, and the namespace of that once it has sockets there.
fn while_it_checks() -> Result<Option<(Daemon, u32, u64)>> {
    let Some(launch) = Launch::prepare()? else { return Ok(None) };
    let daemon = launch.flags(["--check.enable=true"]).start()?;
    let check =
        deadline::until("the check is started", PROMPT, || Ok(children(daemon.pid())?.first().copied()))?;
    let number = deadline::until("it is in a namespace of its own", PROMPT, || {
        let link = fs::read_link(format!("/proc/{check}/ns/net"))?;
        let number: u64 = link.to_string_lossy().trim_matches(|c: char| !c.is_ascii_digit()).parse()?;
        Ok((number != namespace::inode()?).then_some(number))
    })?;
    deadline::until("it has sockets", PROMPT, || {
        Ok((fs::read_to_string(format!("/proc/{check}/net/udp"))?.lines().count() > 3).then_some(()))
    })?;
    Ok(Some((daemon, check, number)))
}

#[test]
fn the_check_ends_with_a_daemon_that_is_killed() -> Result<()> {
    let Some((daemon, _, number)) = while_it_checks()? else { return Ok(()) };
    daemon.stop(Signal::SIGKILL)?;
    deadline::until("the check is gone", PROMPT, || Ok((!inhabited(number)?).then_some(())))
}

#[test]
fn a_check_that_is_killed_is_said_and_nothing_of_it_is_told() -> Result<()> {
    let Some((daemon, check, number)) = while_it_checks()? else { return Ok(()) };
    kill(Pid::from_raw(i32::try_from(check)?), Signal::SIGKILL)?;
    deadline::until("the daemon says so", PROMPT, || Ok(daemon.stderr().contains("SIGKILL").then_some(())))?;
    assert!(!inhabited(number)?, "something still runs in the namespace");
    let metrics = daemon.metrics()?;
    assert_eq!(metrics.count("reuse_claim_verdict", &[("verdict", "not_tried")]), VERDICTS.len() as u64);
    nothing_is_told(&daemon)
}
