//! The quiet minute for as long as one likes: `soak MINUTES`. Prints what each act did, what was told, and what the daemon took
//! of the machine over time; fails on a signal above `info`, on an event lost, and on growth beyond bounds.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::Daemon,
    quiet::{self, Footprint, Heard, Stage},
    skip,
};

/// Between two looks at the daemon.
const LOOK: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let minutes = env::args().nth(1).context("usage: soak MINUTES")?;
    let minutes: u64 = minutes.parse().with_context(|| format!("{minutes:?} minutes"))?;
    let daemon = Daemon::start(&[])?.with_context(|| format!("{} is not set", skip::DAEMON_BIN))?;
    let mut footprint = Footprint::new(&daemon)?;
    let (mut looked, mut told) = (Instant::now(), 0);
    let stage = Stage::new(Duration::from_secs(60 * minutes));
    let played = quiet::play(&stage, || {
        if looked.elapsed() < LOOK {
            return Ok(());
        }
        looked = Instant::now();
        footprint.look(&daemon)?;
        let grave = Heard::of(&daemon, &stage)?.grave;
        for signal in grave.iter().skip(told) {
            println!("NOISE: {signal}");
        }
        told = told.max(grave.len());
        Ok(())
    });
    footprint.look(&daemon)?;
    let heard = Heard::of(&daemon, &stage)?;
    print!("{heard}\n{footprint}");
    for (act, played) in played? {
        println!("{act}: {played}");
    }
    footprint.check()?;
    ensure!(heard.is_quiet(), "{} signals above info, lost: {:?}", heard.grave.len(), heard.lost);
    daemon.stop_cleanly()?;
    Ok(())
}
