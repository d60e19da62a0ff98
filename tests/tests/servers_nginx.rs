//! nginx with a listener for each worker: what the workers log is what the daemon counts, also across reloads.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline,
    namespace::Namespace,
    servers::{Nginx, Outcome, Program, assert_agreement, conclude, connections_made, fetch, request, wrk},
};

const PORT: u16 = 8080;
const WORKERS: usize = 4;

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))
}

/// Everything of a test, nginx started and its workers looked up.
struct Scene {
    daemon: Daemon,
    nginx: Nginx,
    members: BTreeSet<u64>,
    workers: BTreeSet<u32>,
    wrk: Program,
    namespace: Namespace,
}

impl Scene {
    fn new(purpose: &str) -> Result<Option<Self>> {
        let Some([nginx, wrk]) = Program::all(["nginx", "wrk"]) else { return Ok(None) };
        let Some(launch) = Launch::prepare()? else { return Ok(None) };
        let namespace = Namespace::new(purpose)?;
        let daemon = launch.start()?;
        let mut nginx = Nginx::start(&nginx, &namespace, address(), WORKERS)?;
        let members = daemon.members_at(&namespace, "tcp", PORT, WORKERS)?;
        let workers = nginx.workers(&members, WORKERS, &BTreeSet::new())?;
        Ok(Some(Self { daemon, nginx, members, workers, wrk, namespace }))
    }
}

#[test]
fn each_worker_serves_what_its_member_was_selected_for() -> Result<()> {
    let Some(mut scene) = Scene::new("nginx")? else { return Ok(()) };
    let outcome = fetch(&scene.namespace, address(), 4_000)?;
    assert_eq!(outcome, Outcome { answered: 4_000, reset: 0 });
    let served = scene.nginx.served()?;
    assert_eq!(served.values().sum::<u64>(), 4_000);
    assert!(served.values().all(|connections| *connections > 0), "{served:?}");
    assert_agreement(&scene.daemon, &served)?;

    let answers = wrk(&scene.wrk, &scene.namespace, address())?;
    let made = connections_made(&scene.namespace)?;
    ensure!(answers > 0 && made >= 4_000 + answers, "{answers} answers, {made} connections");
    // What it broke off was accepted, and logged by no worker.
    let accepted = deadline::until("nginx accepted every connection", deadline::PROMPT, || {
        Ok(Some(scene.nginx.accepted()?).filter(|accepted| *accepted >= made))
    })?;
    assert_eq!(accepted, made, "accepted by nginx, begun in its namespace");
    assert_eq!(scene.daemon.selected_at(&scene.namespace, "tcp", PORT)?, accepted);
    Ok(())
}

#[test]
fn a_reload_under_load_keeps_the_counts_of_both_generations() -> Result<()> {
    let Some(mut scene) = Scene::new("reload")? else { return Ok(()) };
    let outcome = thread::scope(|scope| {
        let load = scope.spawn(|| fetch(&scene.namespace, address(), 10_000));
        for generation in 1..=2 {
            deadline::until("some of the load is through", deadline::PROMPT, || {
                let selected = scene.daemon.selected_at(&scene.namespace, "tcp", PORT)?;
                Ok((selected >= 2_000 * generation).then_some(()))
            })?;
            scene.nginx.reload(WORKERS)?;
            let old = scene.workers.clone();
            scene.workers.extend(scene.nginx.workers(&scene.members, WORKERS, &old)?);
        }
        load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    assert_eq!(scene.workers.len(), 3 * WORKERS, "three generations");
    assert_eq!(outcome, Outcome { answered: 10_000, reset: 0 });
    // A worker hands its listener to the one that replaces it, so that no member joins or leaves.
    assert_agreement(&scene.daemon, &scene.nginx.served()?)
}

#[test]
fn connections_that_closing_listeners_reset_were_selections_too() -> Result<()> {
    let Some(mut scene) = Scene::new("shrink")? else { return Ok(()) };
    let counted = |scene: &Scene| scene.daemon.selected_at(&scene.namespace, "tcp", PORT);
    // Nobody accepts: every connection stays in the queue of the member that it was selected for.
    for worker in &scene.workers {
        scene.nginx.signal_worker(*worker, Signal::SIGSTOP)?;
    }
    let waiting = request(&scene.namespace, address(), 400)?;
    deadline::until("every connection is in a queue", deadline::PROMPT, || {
        Ok((counted(&scene)? >= 400).then_some(()))
    })?;
    let queued = selections(&scene)?;
    assert_eq!(queued.values().sum::<u64>(), 400);

    // Two listeners close with the last process that has them; two go on with workers of the next generation.
    scene.nginx.reload(2)?;
    let next = scene.nginx.workers(&scene.members, 2, &scene.workers)?;
    for worker in &scene.workers {
        scene.nginx.signal_worker(*worker, Signal::SIGKILL)?;
    }
    let outcome = conclude(waiting)?;
    let kept = scene.daemon.members_at(&scene.namespace, "tcp", PORT, 2)?;
    let of_kept: BTreeMap<u64, u64> = queued
        .iter()
        .filter(|(inode, _)| kept.contains(inode))
        .map(|(inode, count)| (*inode, *count))
        .collect();
    let answered = of_kept.values().sum();
    assert!(answered > 0 && answered < 400, "{queued:?}");
    assert_eq!(
        outcome,
        Outcome { answered, reset: 400 - answered },
        "answered by those that stay: {queued:?}"
    );
    assert_agreement(&scene.daemon, &of_kept)?;
    assert_eq!(counted(&scene)?, 400, "what was reset remains counted");
    assert_eq!(scene.nginx.accepted()?, answered);

    // The slots of the two that left are taken again, and count on.
    scene.nginx.reload(WORKERS)?;
    let members = scene.daemon.members_at(&scene.namespace, "tcp", PORT, WORKERS)?;
    assert_eq!(members.intersection(&scene.members).count(), 2, "two sockets of four are new");
    let old = next.union(&scene.workers).copied().collect();
    scene.nginx.workers(&members, WORKERS, &old)?;
    fetch(&scene.namespace, address(), 1_000)?;
    assert_eq!(counted(&scene)?, 1_400);
    assert_eq!(scene.nginx.accepted()?, answered + 1_000);
    Ok(())
}

/// The daemon's count of each member.
fn selections(scene: &Scene) -> Result<BTreeMap<u64, u64>> {
    let inode = scene.members.first().context("a member")?;
    let members = reuse_tests::groups::members(&reuse_tests::groups::of_inode(&scene.daemon, *inode)?)?;
    Ok(members.into_iter().map(|(inode, member)| (inode, member.selections)).collect())
}
