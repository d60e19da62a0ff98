//! Runs one test to its end, or ends it, and leaves the machine without any other process.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// No test works this long, not even here.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at whether it has ended.
const POLL: Duration = Duration::from_millis(10);
const OUTPUT: &str = "/tmp/output";

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, with this status
    Exited(i32),
    /// By this signal
    Killed(Signal),
    /// After this long it was ended
    Hung(Duration),
}

/// What a test came to.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended
    pub(crate) ending: Ending,
    /// What it wrote to its streams, together with the processes it started
    pub(crate) output: String,
    /// How long it took
    pub(crate) took: Duration,
}

/// Runs the command.
///
/// # Errors
/// If it cannot be started or not be waited for.
pub(crate) fn to_its_end(mut command: Command) -> Result<Finished> {
    let file = File::create(OUTPUT).context(OUTPUT)?;
    let begun = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().context(OUTPUT)?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("process id")?);
    let ending = wait_for(pid, begun);
    let took = begun.elapsed();
    end_all_others();
    // What is not UTF-8 is still to be seen.
    let output = String::from_utf8_lossy(&fs::read(OUTPUT).context(OUTPUT)?).into_owned();
    Ok(Finished { ending: ending?, output, took })
}

/// Waits for one child. Orphans are init's as well and are reaped on the way.
fn wait_for(child: Pid, begun: Instant) -> Result<Ending> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)).context("waiting for the test")? {
            WaitStatus::Exited(pid, status) if pid == child => return Ok(Ending::Exited(status)),
            WaitStatus::Signaled(pid, signal, _) if pid == child => return Ok(Ending::Killed(signal)),
            WaitStatus::StillAlive if begun.elapsed() >= LIMIT => return Ok(Ending::Hung(LIMIT)),
            WaitStatus::StillAlive => thread::sleep(POLL),
            _ => {}
        }
    }
}

/// Nothing a test has left running may disturb the next one.
fn end_all_others() {
    loop {
        // From init, this reaches every process but init itself (kill(2)).
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        match waitpid(None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}
