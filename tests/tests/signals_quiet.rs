//! Servers doing what they do every day for a minute: nothing is told above `info`, and no event is lost.

use std::{io::Write as _, time::Duration};

use anyhow::{Result, ensure};
use reuse_tests::{
    daemon::Daemon,
    quiet::{self, Heard, Stage},
    servers::Program,
};

const LENGTH: Duration = Duration::from_secs(60);

#[test]
fn everyday_servers_raise_nothing_above_info() -> Result<()> {
    // Without the packages a minute of the tests' own servers would say little, and cost a slow machine much.
    let Some(_) = Program::all(["nginx", "haproxy", "unbound"]) else { return Ok(()) };
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let stage = Stage::new(LENGTH);
    let played = quiet::play(&stage, || Ok(()));
    let heard = Heard::of(&daemon, &stage)?;
    // Past the test harness' capture: what was left out, and what is good to know, is said also where all is well.
    let mut told = std::io::stderr();
    writeln!(told)?;
    write!(told, "{heard}")?;
    for (act, played) in played? {
        writeln!(told, "{act}: {played}")?;
    }
    ensure!(heard.is_quiet(), "{heard}");
    // Something was heard: listeners of several users at one multicast port are always there.
    ensure!(heard.has_info("foreign_uid_share"), "{heard}");
    daemon.stop_cleanly()?;
    Ok(())
}
