//! Runs one test to its end, or ends it, and leaves the machine without any other process but the daemon that one test
//! hands on to the next.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
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
/// While killed processes end.
const DYING: Duration = Duration::from_millis(1);
const OUTPUT: &str = "/tmp/output";

/// Where tests leave a daemon for each other (tests/src/daemon/shared.rs).
pub(crate) const SHARED: &str = "/run/shared-daemon";
/// Says which process it is.
const NOTE: &str = "note.json";

/// `PF_KTHREAD` (include/linux/sched.h) in the flags of /proc/PID/stat
const KERNEL_THREAD: u64 = 0x0020_0000;

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
    match &ending {
        Ok(Ending::Exited(0)) => end_all_others(handed_on()),
        // What made it fail is not to meet the next one.
        _ => end_all_others(None),
    }
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

/// The daemon that is left for the next test.
fn handed_on() -> Option<Pid> {
    let note = fs::read(Path::new(SHARED).join(NOTE)).ok()?;
    let note: serde_json::Value = serde_json::from_slice(&note).ok()?;
    note["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
}

/// Nothing else that a test has left running may disturb the next one.
fn end_all_others(spared: Option<Pid>) {
    loop {
        let others: Vec<Pid> = processes().into_iter().filter(|pid| Some(*pid) != spared).collect();
        for pid in &others {
            // Those that ended in between are no others any more.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(ended) if ended != WaitStatus::StillAlive)
        {
        }
        if others.is_empty() {
            return;
        }
        thread::sleep(DYING);
    }
}

/// All that run a program, but init.
fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let runs = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        runs_a_program(&stat)
    };
    pids.filter(|pid| *pid != 1).filter(runs).map(Pid::from_raw).collect()
}

/// Whether a line of /proc/PID/stat (proc(5)) is one of neither a thread of the kernel nor of what has ended.
fn runs_a_program(stat: &str) -> bool {
    // The name before may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let (state, flags) = (fields.first().copied(), fields.get(6).and_then(|flags| flags.parse::<u64>().ok()));
    !matches!(state, None | Some("Z" | "X")) && flags.is_some_and(|flags| flags & KERNEL_THREAD == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_the_kernel_and_the_dead_run_no_program() {
        let stat = |state, flags| format!("7 (a) b (c) {state} 1 7 7 0 -1 {flags} 0 0");
        assert!(runs_a_program(&stat("S", 4_194_304)));
        assert!(!runs_a_program(&stat("Z", 4_194_304)));
        assert!(!runs_a_program(&stat("I", 69_238_880)));
        assert!(!runs_a_program(""));
        let own = fs::read_to_string("/proc/self/stat").expect("proc is mounted");
        assert!(runs_a_program(&own));
    }
}
