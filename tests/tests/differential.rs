//! The rulebook against the running kernel: what it predicts of random binds and listens, and what the daemon says of
//! those that were refused.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use reuse_tests::{
    daemon::Daemon,
    deadline, effort,
    events::by_thread,
    rules::{Agreement, Fuzzer},
};
use serde_json::{Value, json};

/// The daemon may take its time for thousands of events.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn the_kernel_does_what_the_rulebook_says() -> Result<()> {
    let Some(fuzzer) = Fuzzer::find()? else { return Ok(()) };
    // A fixed beginning, whose failure is a change of the code or the kernel, and one that is new each time.
    for seed in [&["--seed", "1"][..], &[]] {
        let scenarios = effort::fewer(4_000, "scenarios").to_string();
        let Agreement { account, .. } = fuzzer.run(&[&["--scenarios", &scenarios], seed].concat())?;
        println!("{account}");
    }
    Ok(())
}

#[test]
fn the_daemon_explains_every_refusal_with_the_sockets_that_blocked() -> Result<()> {
    let Some(fuzzer) = Fuzzer::find()? else { return Ok(()) };
    let Some(daemon) = Daemon::start(&["--events.repeats", "all"])? else { return Ok(()) };
    let unknown = || -> Result<u64> {
        Ok(daemon.metrics()?.count("reuse_daemon_explained_total", &[("result", "unknown")]))
    };
    let unknown_before = unknown()?;
    let scenarios = effort::fewer(1_500, "scenarios");
    let Agreement { account, refusals } =
        fuzzer.run(&["--scenarios", &scenarios.to_string(), "--refusals"])?;
    println!("{account}");
    ensure!(refusals.len() > scenarios * 2 / 3, "only {} refusals", refusals.len());

    let mut confidence = BTreeMap::<String, u64>::new();
    for (tid, refused) in by_thread_id(refusals) {
        let told = told(&daemon, tid, refused.len())?;
        for (refusal, event) in refused.iter().zip(&told) {
            assert_explained(refusal, event);
            *confidence.entry(event["confidence"].to_string()).or_default() += 1;
        }
    }
    println!("conflict events by confidence: {confidence:?}");
    ensure!(unknown()? == unknown_before, "refusals without an explanation");
    Ok(())
}

fn by_thread_id(refusals: Vec<Value>) -> BTreeMap<i32, Vec<Value>> {
    let mut threads = BTreeMap::<i32, Vec<Value>>::new();
    for refusal in refusals {
        let tid = refusal["tid"].as_i64().and_then(|tid| i32::try_from(tid).ok());
        threads.entry(tid.expect("a thread id")).or_default().push(refusal);
    }
    threads
}

/// The conflict events of a thread's binds and listens, once there are as many as it made.
fn told(daemon: &Daemon, tid: i32, count: usize) -> Result<Vec<Arc<Value>>> {
    let of_thread = |event: &Arc<Value>| {
        let explicit = event["phase"] == "bind" || event["phase"] == "listen";
        event["type"] == "conflict" && explicit && by_thread(event, tid)
    };
    let told = deadline::until(&format!("{count} conflict events of thread {tid}"), TOLD_WITHIN, || {
        let told: Vec<Arc<Value>> = daemon.events()?.into_iter().filter(of_thread).collect();
        Ok((told.len() >= count).then_some(told))
    })?;
    assert_eq!(told.len(), count, "conflict events of thread {tid}");
    Ok(told)
}

/// Checks that an event tells of that refusal, and names the sockets that were predicted to block.
#[track_caller]
fn assert_explained(refusal: &Value, event: &Value) {
    let contender = &event["contender"];
    let said = json!({
        "inode": contender["inode"], "phase": event["phase"], "errno": event["result"],
        "address": contender["address"], "port": contender["port"],
    });
    for (key, value) in said.as_object().expect("an object") {
        assert_eq!(value, &refusal[key], "{key} of\n{refusal}\n{event}");
    }
    assert_ne!(event["rule"], "unknown", "{event}");
    if !refusal["rule"].is_null() {
        assert_eq!(event["rule"], refusal["rule"], "rule of\n{refusal}\n{event}");
    }
    let inodes = |holders: &Value| -> Vec<u64> {
        let holders = holders.as_array().map(Vec::as_slice).unwrap_or_default();
        holders.iter().map(|holder| holder["inode"].as_u64().expect("an inode number")).collect()
    };
    let (mut predicted, mut named) = (inodes(&refusal["holders"]), inodes(&event["holders"]));
    // The order matters where the first one decides.
    if contender["protocol"] != "udp" {
        predicted.sort_unstable();
        named.sort_unstable();
    }
    assert_eq!(named, predicted, "holders of\n{refusal}\n{event}");
    assert!(["exact", "best_evidence"].map(Value::from).contains(&event["confidence"]), "{event}");
}
