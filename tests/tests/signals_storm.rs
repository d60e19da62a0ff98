//! A process that binds as fast as it can, under names that are meant to break what shows them, hides nothing.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    actor::Actor,
    daemon::Daemon,
    deadline::{self, PROMPT},
    signals::{Expected, Stage, TAKER, VICTIM},
};
use serde_json::Value;

/// How soon a hijack is found that is staged in a storm.
const IN_A_STORM: Duration = Duration::from_secs(2);
/// How soon its end is: where the storm drives the close out of the ring, some look at all sockets finds it gone.
const ENDED_IN_A_STORM: Duration = Duration::from_secs(5);
/// Most resident memory, in KiB: what the daemon has besides is its programs and maps.
const RESIDENT_MAX: u64 = 128 * 1024;
/// Most series of one scrape, as `--metrics.max-series` has it.
const SERIES_MAX: usize = 10_000;

/// Has `actor` become this user, and bind and listen on random ports from now on, under ever other names, each for a moment.
fn rage(actor: &mut Actor, uid: u32, seed: u32) -> Result<()> {
    actor.run(&format!(
        "import random, threading\n\
         os.setresuid({uid}, {uid}, {uid})\n\
         chance = random.Random({seed})\n\
         binds = 0\n\
         raging = True\n\
         def call_it():\n\
         \x20   name = bytes(chance.choice(b'\\x01\\x1b\\n\\r\\t\"\\\\}}{{]\\'`$\\xff\\xc3\\x7f%,=') for _ in range(15))\n\
         \x20   with open('/proc/thread-self/comm', 'wb') as comm: comm.write(name)\n\
         def rage():\n\
         \x20   global binds\n\
         \x20   held = []\n\
         \x20   while raging:\n\
         \x20       call_it()\n\
         \x20       for _ in range(50):\n\
         \x20           host = chance.choice(['127.0.0.1', '0.0.0.0', '::1', '::'])\n\
         \x20           kind = chance.choice([SOCK_STREAM, SOCK_DGRAM])\n\
         \x20           options = chance.choice([[], [RA], [RP], [RA, RP]])\n\
         \x20           try:\n\
         \x20               made = bound(host, chance.randrange(10000, 60000), *options, kind=kind)\n\
         \x20               binds += 1\n\
         \x20               if kind == SOCK_STREAM: made.listen(1)\n\
         \x20               held.append(made)\n\
         \x20           except OSError: pass\n\
         \x20       held = held[-200:]\n\
         threads = [threading.Thread(target=rage, daemon=True)]\n\
         for thread in threads: thread.start()"
    ))?;
    Ok(())
}

fn resident(daemon: &Daemon) -> Result<u64> {
    let path = format!("/proc/{}/status", daemon.pid());
    let status = fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn a_storm_hides_no_hijack() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "storm")?;
    let mut hostile = [stage.actor("rt-hostile", 0)?, stage.actor("rt-hostile", 0)?];
    for (seed, actor) in (1..).zip(&mut hostile) {
        rage(actor, 4_102 + seed, seed)?;
    }
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", TAKER)?;
    for round in 0..5_u32 {
        let port = 8_001 + round;
        victim.run(&format!("s = bound('0.0.0.0', {port}, RA, kind=SOCK_DGRAM)"))?;
        taker.run(&format!("s = bound('127.0.0.1', {port}, RA, kind=SOCK_DGRAM)"))?;
        let staged = Instant::now();
        let expected = Expected::new("more_specific_shadow", "critical")
            .party("victim", &mut victim, "s")?
            .party("taker", &mut taker, "s")?;
        // Events are many in a storm, and the test is not to be slowed down by reading them.
        let lasting = || -> Result<Option<Value>> {
            let all = stage.list()?;
            Ok(all.into_iter().find(|signal| signal["until"].is_null() && expected.is(signal)))
        };
        let signal = deadline::until("listed in the storm", 2 * PROMPT, lasting)?;
        deadline::ensure_within("told in the storm", IN_A_STORM, staged.elapsed())?;
        expected.assert_told(&signal)?;
        let ended = Instant::now();
        taker.run("s.close()")?;
        // The latest thousand that ended are listed: in a storm those of a moment.
        deadline::until("ended in the storm", 2 * PROMPT, || Ok(lasting()?.is_none().then_some(())))?;
        deadline::ensure_within("resolved in the storm", ENDED_IN_A_STORM, ended.elapsed())?;
        victim.run("s.close()")?;
    }
    let mut binds = 0;
    for actor in &mut hostile {
        binds += actor.run("raging = False; answer = binds")?.as_u64().unwrap_or_default();
    }
    ensure!(binds > 1_000, "a storm has more than {binds} binds");
    let resident = resident(&daemon)?;
    ensure!(resident < RESIDENT_MAX, "{resident} KiB after {binds} binds");
    assert_well_formed(&daemon)
}

/// Every line is one JSON object, and nothing a terminal would act on is in any of them.
fn assert_well_formed(daemon: &Daemon) -> Result<()> {
    daemon.check_events(|_, line| {
        ensure!(!line.iter().any(u8::is_ascii_control), "{}", String::from_utf8_lossy(line));
        Ok(())
    })?;
    let signals = daemon.signals()?;
    ensure!(signals.len() <= 4_096 + 1_000, "{} signals", signals.len());
    let metrics = daemon.metrics()?;
    let series: usize = metrics.types().keys().map(|family| metrics.series(family, &[]).count()).sum();
    ensure!(series <= SERIES_MAX, "{series} series");
    for name in ["signals", "conflicts"] {
        let output = daemon.command(name).args(["--color", "never"]).output()?;
        let shown = String::from_utf8(output.stdout)?;
        ensure!(!shown.chars().any(|shown| shown.is_control() && shown != '\n'), "{name}: {shown:?}");
    }
    Ok(())
}

/// Thousands of shared ports at once: the gravest are told, and how many were not.
#[test]
fn thousands_of_hijacks_have_bounds() -> Result<()> {
    const PORTS: usize = 5_000;
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "thousands")?;
    let mut one = stage.actor("rt-one", 4_103)?;
    let mut other = stage.actor("rt-other", 4_104)?;
    for actor in [&mut one, &mut other] {
        actor.run(&format!(
            "LIBC.setrlimit(7, struct.pack('QQ', 8192, 8192))\n\
             held = [bound('127.0.0.1', 10000 + port, RA, kind=SOCK_DGRAM) for port in range({PORTS})]"
        ))?;
    }
    let active = || -> Result<usize> {
        let metrics = daemon.metrics()?;
        Ok(metrics.series("reuse_signal_active", &[("netns", stage.namespace().name())]).count())
    };
    // As many as may last at once, but for those of others on this host.
    deadline::until("signals last, as many as may", 4 * PROMPT, || Ok((active()? > 4_000).then_some(())))?;
    let resident = resident(&daemon)?;
    ensure!(resident < RESIDENT_MAX, "{resident} KiB");
    assert_well_formed(&daemon)?;
    one.end();
    deadline::until("all have ended", 4 * PROMPT, || Ok((active()? == 0).then_some(())))?;
    assert_well_formed(&daemon)
}
