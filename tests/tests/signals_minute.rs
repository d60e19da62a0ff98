//! What is told for a minute at most: nobody else would say when it is over.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reuse_tests::{
    daemon::Daemon,
    deadline,
    signals::{Expected, Party, SOON, Stage, TAKER, VICTIM},
};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn attempts_and_takeovers_are_told_for_a_minute() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "minute")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut other = stage.actor("rt-other", TAKER)?;
    victim.run("s = listening('127.0.0.1', 8001, RP); t = listening('127.0.0.1', 8002)")?;
    let begun = Instant::now();
    other.run("s = opened('127.0.0.1', RP)")?;
    ensure!(other.refused("s.bind(('127.0.0.1', 8001))")? == "EADDRINUSE");
    let asking = Party::new("contender", &mut other, "s")?.asking("127.0.0.1", 8_001);
    let refused = Expected::new("join_refused", "warning").party("holder", &mut victim, "s")?.and(asking);
    let lost = Party::new("victim", &mut victim, "t")?;
    victim.run("t.close()")?;
    other.run("t = listening('127.0.0.1', 8002)")?;
    let taken = Expected::new("takeover_after_close", "warning").and(lost).party("taker", &mut other, "t")?;
    let signals = [stage.raised(&refused)?, stage.raised(&taken)?];
    deadline::until("both have ended", MINUTE + 2 * SOON, || {
        // Events are read as they come.
        stage.begins()?;
        let active = stage.list()?.into_iter().filter(|signal| signal["until"].is_null()).count();
        ensure!(active == 2 || begun.elapsed() >= MINUTE, "{active} last after {:?}", begun.elapsed());
        Ok((active == 0).then_some(()))
    })?;
    for (expected, signal) in [&refused, &taken].into_iter().zip(&signals) {
        stage.resolved(expected, signal)?;
    }
    stage.assert_only(&[&signals[0], &signals[1]])
}
