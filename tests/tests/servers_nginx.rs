//! nginx with a listener for each worker: what the workers log is what the daemon counts, also across reloads.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline, groups,
    namespace::Namespace,
    servers::{
        Account, Nginx, Outcome, Program, assert_agreement, conclude, connections_made, fetch, request, wrk,
    },
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

/// What became of the 400 connections that nobody had accepted when two of four listeners closed.
struct Closing {
    scene: Scene,
    outcome: Outcome,
    /// The daemon's counts of the two members that stayed, from before
    stayed: Account,
}

/// Lets connections queue up at workers that are stopped, then reloads with half as many and ends the old ones: two
/// listeners close with the last process that has them, two go on with workers of the next generation.
fn close_two_of_four(scene: Scene) -> Result<Closing> {
    let Scene { daemon, mut nginx, members, workers, namespace, wrk } = scene;
    for worker in &workers {
        nginx.signal_worker(*worker, Signal::SIGSTOP)?;
    }
    let waiting = request(&namespace, address(), 400)?;
    deadline::until("every connection is in a queue", deadline::PROMPT, || {
        Ok((daemon.selected_at(&namespace, "tcp", PORT)? >= 400).then_some(()))
    })?;
    let queued = account(&daemon, &members)?;
    assert_eq!(queued.values().sum::<u64>(), 400);

    nginx.reload(2)?;
    let next = nginx.workers(&members, 2, &workers)?;
    for worker in &workers {
        nginx.signal_worker(*worker, Signal::SIGKILL)?;
    }
    let outcome = conclude(waiting)?;
    let kept = daemon.members_at(&namespace, "tcp", PORT, 2)?;
    let stayed: Account = queued.into_iter().filter(|(inode, _)| kept.contains(inode)).collect();
    assert_agreement(&daemon, &stayed)?;
    assert_eq!(
        daemon.selected_at(&namespace, "tcp", PORT)?,
        400,
        "what was queued where remains counted there"
    );
    let workers = workers.union(&next).copied().collect();
    Ok(Closing { scene: Scene { daemon, nginx, members, workers, namespace, wrk }, outcome, stayed })
}

#[test]
fn connections_that_closing_listeners_reset_were_selections_too() -> Result<()> {
    let Some(scene) = Scene::new("shrink")? else { return Ok(()) };
    let Closing { mut scene, outcome, stayed } = close_two_of_four(scene)?;
    let answered = stayed.values().sum();
    assert_eq!(outcome, Outcome { answered, reset: 400 - answered }, "{stayed:?}");
    assert_eq!(
        scene.nginx.served()?.into_iter().filter(|(_, count)| *count > 0).collect::<Account>(),
        stayed
    );
    assert_eq!(scene.nginx.accepted()?, answered);

    // The slots of the two that left are taken again, and count on.
    scene.nginx.reload(WORKERS)?;
    let members = scene.daemon.members_at(&scene.namespace, "tcp", PORT, WORKERS)?;
    assert_eq!(members.intersection(&scene.members).count(), 2, "two sockets of four are new");
    scene.nginx.workers(&members, WORKERS, &scene.workers)?;
    fetch(&scene.namespace, address(), 1_000)?;
    assert_eq!(scene.daemon.selected_at(&scene.namespace, "tcp", PORT)?, 1_400);
    assert_eq!(scene.nginx.accepted()?, answered + 1_000);
    Ok(())
}

#[test]
fn connections_that_closing_listeners_hand_on_are_selected_once() -> Result<()> {
    let Some(scene) = Scene::new("migrate")? else { return Ok(()) };
    scene.namespace.run(|| {
        let path = "/proc/sys/net/ipv4/tcp_migrate_req";
        std::fs::write(path, "1").context(path)
    })?;
    let Closing { mut scene, outcome, stayed } = close_two_of_four(scene)?;
    assert_eq!(outcome, Outcome { answered: 400, reset: 0 }, "{stayed:?}");
    assert_eq!(scene.nginx.accepted()?, 400);
    Ok(())
}

/// The daemon's count of each member.
fn account(daemon: &Daemon, members: &BTreeSet<u64>) -> Result<Account> {
    let shown = groups::of_inode(daemon, *members.first().context("a member")?)?;
    Ok(groups::members(&shown)?.into_iter().map(|(inode, member)| (inode, member.selections)).collect())
}
