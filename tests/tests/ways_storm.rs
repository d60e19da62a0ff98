//! Binds and listens through all ways at once: what was made is what was told and counted, one for one.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline, effort,
    generator::Calls,
    namespace::Namespace,
    sockets::{self, Transport},
    ways::{
        Way,
        agreement::{self, Told},
        kernel::Vxlan,
        storm,
    },
};
use socket2::Socket;

/// The storm comes in gusts that the ring holds whole: so the daemon loses nothing, however little time it gets meanwhile.
const GUSTS: u32 = 4;
/// Devices of each gust, one of each family.
const DEVICES: u32 = 2;
/// The daemon tells every refusal.
const TOLD: [&str; 2] = ["--events.repeats", "all"];
/// How long the daemon may take for what the ways made within a second or three, on a machine that does other things.
const SETTLED: Duration = Duration::from_secs(30);
/// After so long the cross-check has found what was missed: half a second of quiet, five of grace, and two of its looks.
const CROSS_CHECKED: Duration = Duration::from_secs(7);

/// How much is made.
#[derive(Debug, Clone, Copy)]
struct Strength {
    gusts: u32,
    /// Calls of each protocol and family by each way in a gust: of full strength ten thousand binds in all
    calls: usize,
    connects: usize,
}

impl Strength {
    /// On a slow machine every kind of call is still made twice by each way in a gust, and more than one gust comes.
    fn of_this_machine() -> Self {
        Self {
            gusts: effort::fewer_but(GUSTS, 2, "gusts"),
            calls: effort::fewer_but(50, 2 * storm::KINDS, "calls of a kind in a gust"),
            connects: effort::fewer(100, "connects in a gust"),
        }
    }
}

/// What was made.
#[derive(Default)]
struct Made {
    calls: Calls,
    /// Processes in whose name the kernel bound
    pids: BTreeSet<u64>,
}

/// Sets this gust's devices up and down: the processes in whose name the kernel bound, none where it has no such devices.
fn devices(namespace: &Namespace, gust: u32) -> Result<BTreeSet<u64>> {
    let mut pids = BTreeSet::new();
    for identifier in gust * DEVICES..(gust + 1) * DEVICES {
        let port = 4_800 + u16::try_from(identifier)?;
        let Some(device) = Vxlan::new(namespace, identifier, port, identifier % 2 == 1)? else { break };
        let attempt = device.up()?;
        attempt.outcome.map_err(anyhow::Error::msg)?;
        pids.insert(attempt.pid.into());
        device.down()?;
    }
    Ok(pids)
}

/// Calls through all ways at once.
fn gust(namespace: &Namespace, number: u32, strength: Strength, made: &mut Made) -> Result<()> {
    let pids = thread::scope(|scope| {
        let ways = Way::ALL.map(|way| {
            scope.spawn(move || {
                namespace.enter()?;
                way.open()?.map_or_else(
                    || Ok(Calls::default()),
                    |mut caller| storm::calls(&mut caller, strength.calls),
                )
            })
        });
        let connects = scope.spawn(|| {
            namespace.enter()?;
            let mut caller = Way::Call.open()?.context("system calls are always there")?;
            storm::connects(&mut caller, strength.connects)
        });
        let pids = devices(namespace, number);
        for way in ways {
            made.calls.merge(&way.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        connects.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        pids
    })?;
    for family in ["ipv4", "ipv6"] {
        // The sockets that make a connect impossible: one listens, and two are bound.
        made.calls.binds.add(family, "tcp", "success", 3);
        made.calls.listens.add(family, "tcp", "success", 1);
        // Every other device is IPv6.
        made.calls.binds.add(family, "udp", "success", pids.len() as u64 / 2);
    }
    made.pids.extend(pids);
    Ok(())
}

fn through_all_ways(daemon: &Daemon) -> Result<()> {
    let namespace = Namespace::new("storm")?;
    let strength = Strength::of_this_machine();
    let mut made = Made::default();
    for number in 0..strength.gusts {
        gust(&namespace, number, strength, &mut made).with_context(|| format!("gust {number}"))?;
        let total = made.calls.binds.total(|_| true);
        let mut seen = 0;
        let all = deadline::until("all binds are counted", SETTLED, || {
            seen = Told::by_metrics(&daemon.metrics()?).binds.total(|_| true);
            Ok((seen >= total).then_some(()))
        });
        all.with_context(|| format!("{seen} of {total} binds are counted"))?;
    }
    let Made { calls, pids } = made;
    let events = agreement::settle(daemon)?;
    let own = |pid: u64| pid == u64::from(std::process::id()) || pids.contains(&pid);
    let told = Told::by_events(
        events.iter().map(AsRef::as_ref).filter(|event| event["contender"]["pid"].as_u64().is_some_and(own)),
    );
    ensure!(told.binds == calls.binds, "binds told:\n{}made:\n{}", told.binds, calls.binds);
    ensure!(told.listens == calls.listens, "listens told:\n{}made:\n{}", told.listens, calls.listens);
    let connects = ["tcp", "connect", "EADDRNOTAVAIL"].map(str::to_owned);
    ensure!(
        told.implicit.get(&connects) == Some(&(u64::from(strength.gusts) * strength.connects as u64)),
        "{:?}",
        told.implicit
    );
    for way in Way::ALL {
        let none = !events.iter().any(|event| event["contender"]["via"] == way.via());
        ensure!(!none || way.open()?.is_none(), "nothing told by {way:?}");
    }
    let settled = Instant::now();
    while settled.elapsed() < CROSS_CHECKED {
        agreement::assert_nothing_missed(&daemon.metrics()?);
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

#[test]
fn every_call_is_counted() -> Result<()> {
    let Some(daemon) = Daemon::start(&TOLD)? else { return Ok(()) };
    through_all_ways(&daemon)
}

/// Successes and refusals alike, though every refusal by a system call is inferred.
#[test]
fn every_call_is_counted_without_the_system_calls() -> Result<()> {
    let Some(daemon) = Daemon::start(&[&TOLD[..], &["--trace.syscalls=false"]].concat())? else {
        return Ok(());
    };
    through_all_ways(&daemon)
}

/// What other daemons see does not change what this one does.
#[test]
fn every_call_is_counted_by_two_daemons_at_once() -> Result<()> {
    // Before the daemon whose counts are compared: looking for a free port is a bind as well.
    let Some(other) = Launch::prepare()? else { return Ok(()) };
    let Some(daemon) = Daemon::start(&TOLD)? else { return Ok(()) };
    let _other = other.flags(TOLD).start()?;
    through_all_ways(&daemon)
}

/// In this tier each bind shows the sockets that were on its port before it, up to 256: what a group's members show must not
/// drive their binds out of the ring. Without that limit a gust takes four times the ring's room.
#[test]
fn crowds_that_join_at_once_lose_no_call_without_the_system_calls() -> Result<()> {
    const CROWDS: u16 = 4;
    const GUSTS: u64 = 5;
    let Some(daemon) = Daemon::start(&["--trace.syscalls=false"])? else { return Ok(()) };
    let namespace = Namespace::new("crowds")?;
    let members = effort::fewer(300_u64, "members of each crowd in a gust");
    allow_open_files(GUSTS * u64::from(CROWDS) * members + 256)?;
    let mut crowds = Vec::new();
    for _ in 0..GUSTS {
        crowds.extend(join(&namespace, CROWDS, members)?);
        let mut told = 0;
        let all = deadline::until("all binds are counted", SETTLED, || {
            told = Told::by_metrics(&daemon.metrics()?).binds.total(|result| result == "success");
            Ok((told >= crowds.len() as u64).then_some(()))
        });
        all.with_context(|| format!("{told} of {} binds are counted", crowds.len()))?;
    }
    let settled = Instant::now();
    while settled.elapsed() < CROSS_CHECKED {
        agreement::assert_nothing_missed(&daemon.metrics()?);
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// So many more members of each crowd, of all crowds at the same time.
fn join(namespace: &Namespace, crowds: u16, members: u64) -> Result<Vec<Socket>> {
    let crowd = |number| {
        namespace.enter()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7_000 + number));
        (0..members).map(|_| sockets::member(Transport::Udp, address)).collect::<Result<Vec<_>>>()
    };
    thread::scope(|scope| {
        let joining: Vec<_> = (0..crowds).map(|number| scope.spawn(move || crowd(number))).collect();
        let joined = joining
            .into_iter()
            .map(|crowd| crowd.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        Ok(joined.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

fn allow_open_files(files: u64) -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills a structure that lives through the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    limit = libc::rlimit { rlim_cur: files.max(limit.rlim_cur), rlim_max: files.max(limit.rlim_max) };
    // SAFETY: the kernel reads a structure that lives through the call.
    let changed = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0;
    ensure!(known && changed, "cannot have {files} files open: {}", std::io::Error::last_os_error());
    Ok(())
}
