//! Binds and listens through all ways at once: what was made is what was told and counted, one for one.

use std::{collections::BTreeSet, sync::Mutex, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline,
    generator::Calls,
    namespace::Namespace,
    ways::{
        Way,
        agreement::{self, Told},
        kernel::Vxlan,
        stage, storm,
    },
};

/// Calls of each protocol and family by each way: of binds alone over a thousand by each, and ten thousand in all.
const COUNT: usize = 200;
const CONNECTS: usize = 400;
const DEVICES: u32 = 10;
/// How long the daemon may take for what the ways made within a second or three, on a machine that does other things.
const SETTLED: Duration = Duration::from_secs(30);

/// Sets devices up and down: the processes in whose name the kernel bound, none where it has no such devices.
fn devices(namespace: &Namespace) -> Result<BTreeSet<u64>> {
    let mut pids = BTreeSet::new();
    for identifier in 0..DEVICES {
        let port = 4_800 + u16::try_from(identifier)?;
        let Some(device) = Vxlan::new(namespace, identifier, port, identifier % 2 == 1)? else { break };
        let attempt = device.up()?;
        attempt.outcome.map_err(anyhow::Error::msg)?;
        pids.insert(attempt.pid.into());
        device.down()?;
    }
    Ok(pids)
}

fn through_all_ways(namespace: &Namespace, daemon: &Daemon) -> Result<()> {
    let made = Mutex::new(Calls::default());
    let count = |calls: Calls| made.lock().expect("no thread panicked").merge(&calls);
    let pids = thread::scope(|scope| {
        let mut threads = Vec::new();
        for way in Way::ALL {
            let count = &count;
            threads.push(scope.spawn(move || {
                namespace.enter()?;
                let Some(mut caller) = way.open()? else { return Ok(()) };
                count(storm::calls(&mut caller, COUNT)?);
                anyhow::Ok(())
            }));
        }
        threads.push(scope.spawn(|| {
            namespace.enter()?;
            let mut caller = Way::Call.open()?.context("system calls are always there")?;
            storm::connects(&mut caller, CONNECTS)
        }));
        let pids = devices(namespace);
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        pids
    })?;
    let mut made = made.into_inner().expect("no thread panicked");
    for family in ["ipv4", "ipv6"] {
        // The sockets that make a connect impossible: one listens, and two are bound.
        made.binds.add(family, "tcp", "success", 3);
        // Every other device is IPv6.
        made.binds.add(family, "udp", "success", pids.len() as u64 / 2);
        made.listens.add(family, "tcp", "success", 1);
    }

    let total = made.binds.total(|_| true);
    let mut seen = 0;
    let all = deadline::until("all binds are counted", SETTLED, || {
        seen = Told::by_metrics(&daemon.metrics()?).binds.total(|_| true);
        Ok((seen >= total).then_some(()))
    });
    all.with_context(|| format!("{seen} of {total} binds are counted"))?;
    let events = agreement::settle(daemon)?;
    let own = |pid: u64| pid == u64::from(std::process::id()) || pids.contains(&pid);
    let told =
        Told::by_events(events.iter().filter(|event| event["contender"]["pid"].as_u64().is_some_and(own)));
    ensure!(told.binds == made.binds, "binds told:\n{}made:\n{}", told.binds, made.binds);
    ensure!(told.listens == made.listens, "listens told:\n{}made:\n{}", told.listens, made.listens);
    let connects = ["tcp", "connect", "EADDRNOTAVAIL"].map(str::to_owned);
    ensure!(told.implicit.get(&connects) == Some(&(CONNECTS as u64)), "{:?}", told.implicit);
    for way in Way::ALL {
        let none = !events.iter().any(|event| event["contender"]["via"] == way.via());
        ensure!(!none || way.open()?.is_none(), "nothing told by {way:?}");
    }
    Ok(())
}

#[test]
fn every_call_is_counted() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("storm", &[])? else { return Ok(()) };
    through_all_ways(&namespace, &daemon)
}

/// What other daemons see does not change what this one does.
#[test]
fn every_call_is_counted_by_two_daemons_at_once() -> Result<()> {
    // Before the daemon whose counts are compared: looking for a free port is a bind as well.
    let Some(other) = Launch::prepare()? else { return Ok(()) };
    let Some((namespace, daemon)) = stage::begin("storm", &[])? else { return Ok(()) };
    let _other = other.flags(["--events.repeats", "all"]).start()?;
    through_all_ways(&namespace, &daemon)
}
