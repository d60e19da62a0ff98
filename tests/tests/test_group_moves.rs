//! The experiments on the daemon's own groups: which flows move when a member joins or leaves, asked for by hand.

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::Daemon,
    local::{self, run},
};
use serde_json::Value;

const PAIRS: [(&str, &str); 4] = [("tcp", "ipv4"), ("tcp", "ipv6"), ("udp", "ipv4"), ("udp", "ipv6")];
/// Flows tried across the two joins and the two leaves of one experiment, those aside whose port another process had.
const TRIED: std::ops::RangeInclusive<u64> = 400..=512;

fn steps(experiment: &Value) -> Result<&Vec<Value>> {
    experiment["steps"].as_array().with_context(|| format!("no steps in {experiment}"))
}

fn number(step: &Value, field: &str) -> Result<u64> {
    step[field].as_u64().with_context(|| format!("no {field} in {step}"))
}

/// Whether so many of `tried` flows move by chance, each with this probability: within six standard deviations.
fn is_likely(moved: u64, tried: u64, share: f64) -> bool {
    let (moved, tried) = (moved as f64, tried as f64);
    (moved - share * tried).abs() <= 6.0 * (tried * share * (1.0 - share)).sqrt()
}

#[test]
fn flows_move_as_predicted_and_as_many_as_the_closed_forms_say() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let before = daemon.metrics()?;
    for (protocol, family) in PAIRS {
        let labels = [("protocol", protocol), ("family", family)];
        for name in
            ["flow_trials", "flow_moves", "flow_moves_predicted", "sticky_trials", "sticky_violations"]
        {
            let name = format!("reuse_test_group_{name}_total");
            assert_eq!(before.sum(&name, &labels), Some(0.0), "{name} starts at 0: {labels:?}");
        }
    }
    let ran = run(daemon.command("groups").args(["--experiment", "--json"]))?;
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let answer = ran.json()?;
    let experiments = answer["experiments"].as_array().with_context(|| format!("{answer}"))?;
    assert_eq!(experiments.len(), PAIRS.len(), "{answer}");
    for experiment in experiments {
        let wanted = [
            (Value::Null, Value::Null, 4, 0.0),
            ("join".into(), 4.into(), 5, 0.5),
            ("leave".into(), 4.into(), 4, 0.5),
            ("leave".into(), 0.into(), 3, 0.75),
            ("join".into(), 3.into(), 4, 0.5),
        ];
        let steps = steps(experiment)?;
        assert_eq!(steps.len(), wanted.len(), "{experiment}");
        for (step, (cause, place, after, share)) in steps.iter().zip(wanted) {
            assert_eq!(
                (&step["cause"], &step["place"], number(step, "after")?),
                (&cause, &place, after),
                "{step}"
            );
            let expected = step["expected_share"].as_f64().context("expected share")?;
            assert!((expected - share).abs() < 1e-12, "{step}");
            let (tried, moved) = (number(step, "tried")?, number(step, "moved")?);
            assert!((200..=256).contains(&tried), "{step}");
            assert_eq!((number(step, "predicted")?, number(step, "contradicted")?), (moved, 0), "{step}");
            assert!(is_likely(moved, tried, share), "{step}");
        }
    }
    let metrics = daemon.metrics_until("the experiments are counted", |metrics| {
        let counted = PAIRS.iter().all(|(protocol, family)| {
            metrics
                .count("reuse_test_group_flow_trials_total", &[("protocol", *protocol), ("family", *family)])
                > 0
        });
        counted.then(|| metrics.clone())
    })?;
    for experiment in experiments {
        let (protocol, family) = (
            experiment["protocol"].as_str().unwrap_or_default(),
            experiment["family"].as_str().unwrap_or_default(),
        );
        for cause in ["join", "leave"] {
            let labels = [("protocol", protocol), ("family", family), ("cause", cause)];
            let of = |name: &str| metrics.count(&format!("reuse_test_group_{name}_total"), &labels);
            let sum = |field: &str| -> Result<u64> {
                steps(experiment)?
                    .iter()
                    .filter(|step| step["cause"] == cause)
                    .map(|step| number(step, field))
                    .sum()
            };
            assert!(TRIED.contains(&of("flow_trials")), "{labels:?}: {}", of("flow_trials"));
            assert_eq!(of("flow_trials"), sum("tried")?, "{labels:?}");
            assert_eq!(of("flow_moves"), sum("moved")?, "{labels:?}");
            assert_eq!(of("flow_moves_predicted"), of("flow_moves"), "{labels:?}");
        }
        let labels = [("protocol", protocol), ("family", family)];
        assert!(metrics.count("reuse_test_group_sticky_trials_total", &labels) >= 200, "{labels:?}");
        assert_eq!(metrics.count("reuse_test_group_sticky_violations_total", &labels), 0, "{labels:?}");
        let outcomes = |result| {
            let labels = [("protocol", protocol), ("family", family), ("result", result)];
            metrics.count("reuse_test_group_probes_total", &labels)
        };
        assert_eq!(
            (outcomes("mismatch"), outcomes("lost")),
            (0, 0),
            "regular probes are not disturbed: {labels:?}"
        );
    }
    let unattributed = [("stage", "selection_unattributed")];
    assert_eq!(metrics.count("reuse_daemon_events_lost_total", &unattributed), 0, "its sockets are known");
    let shown = daemon.api("test-group")?;
    assert!(shown["test_group"][0]["experiment"]["steps"].is_array(), "{shown}");
    let events = daemon.events()?;
    let own = events.iter().filter(|event| event["contender"]["pid"] == daemon.pid());
    assert_eq!(own.count(), 0, "its own binds are no events");
    Ok(())
}

#[test]
fn it_says_whether_this_kernel_is_even() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--test-group.probes-per-second", "400"])? else { return Ok(()) };
    daemon.metrics_until("enough flows of every group", |metrics| {
        let known = metrics.series("reuse_test_group_even", &[]).count() == PAIRS.len();
        known.then(|| {
            assert_eq!(metrics.count("reuse_test_group_even", &[]), 4, "this kernel spreads flows evenly");
        })
    })?;
    let ran = run(daemon.command("groups").args(["--port", "1"]))?;
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("This kernel spreads its test flows evenly"), "{ran:?}");
    Ok(())
}

#[test]
fn without_a_test_group_there_is_no_experiment() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--test-group.enable=false"])? else { return Ok(()) };
    let ran = run(daemon.command("groups").arg("--experiment"))?;
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("has no test group"), "{ran:?}");
    let answer = local::ask(daemon.socket(), r#"{"ask":"experiment"}"#)?;
    assert!(
        answer["error"].as_str().is_some_and(|error| error.contains("--test-group.enable=false")),
        "{answer}"
    );
    Ok(())
}
