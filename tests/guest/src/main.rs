//! Init of the virtual machines that `cargo xtask vm` boots.
//!
//! Makes the bare machine one that the daemon would meet, asks on the console for one test after another until there is none
//! left, runs each as a process of its own, says one verdict a line, and powers off. The other side
//! (`xtask/src/vm/verdict.rs`) takes a missing line for a failure.

mod kernel_log;
mod machine;
mod modules;
mod report;
mod run;
mod suite;

use std::{
    io,
    os::fd::AsFd as _,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use crate::{kernel_log::KernelLog, report::Report};

/// The daemon under test.
const DAEMON: &str = "/reuse-daemon";
/// What is asked for in place of a test: what the daemon itself says about this kernel.
const DOCTOR: &str = "doctor";
/// Milliseconds in which an answer comes. Who does not give one has ended, and nobody waits for this machine.
const ANSWERED_WITHIN: u16 = 60_000;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("this program is the init of a virtual machine, booted by `cargo xtask vm`");
        return ExitCode::from(2);
    }
    // An init that returns makes the kernel panic, which the other side sees.
    let outcome = machine::prepare().and_then(|()| judge());
    if let Err(error) = &outcome {
        eprintln!("init: {error:#}");
        // Nobody to tell if the console cannot be written.
        let _ = machine::drain();
        return ExitCode::FAILURE;
    }
    machine::power_off()
}

fn judge() -> Result<()> {
    modules::load()?;
    let mut log = KernelLog::open()?;
    let mut report = Report::begin()?;
    loop {
        report.ask();
        match answer()?.as_str() {
            "" => break,
            DOCTOR => report.doctor(&doctor()?),
            test => {
                let outcome = suite::command(test).and_then(run::to_its_end);
                let complaints = log.complaints();
                report.verdict(test, outcome, &complaints);
            }
        }
    }
    report.close();
    Ok(())
}

/// The next line from the other side; an empty one says that nothing is left.
fn answer() -> Result<String> {
    let console = io::stdin();
    let mut waiting = [PollFd::new(console.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut waiting, PollTimeout::from(ANSWERED_WITHIN)).context("waiting for an answer")?;
    ensure!(ready > 0, "nobody says what is to be run");
    let mut line = String::new();
    console.read_line(&mut line).context("reading what is to be run from the console")?;
    Ok(line.trim().to_owned())
}

fn doctor() -> Result<Value> {
    let output = Command::new(DAEMON).args(["doctor", "--json"]).output().context("starting the doctor")?;
    // It ends with another status than 0 where something is missing, and says what all the same.
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("what the doctor says: {}{}", output.status, String::from_utf8_lossy(&output.stderr))
    })
}
