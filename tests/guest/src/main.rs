//! Init of the virtual machines that `cargo xtask vm` boots.
//!
//! Makes the bare machine one that the daemon would meet, runs the planned tests one after another, each as a process of
//! its own, says one verdict a line on the console, and powers off. The other side (`xtask/src/vm/verdict.rs`) takes a
//! missing line for a failure.

mod kernel_log;
mod machine;
mod modules;
mod report;
mod run;
mod suite;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{kernel_log::KernelLog, report::Report, suite::Planned};

/// The daemon under test.
const DAEMON: &str = "/reuse-daemon";

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
    report.doctor(&doctor()?);
    for test in suite::planned()? {
        let Planned { name, command } = test;
        let outcome = run::to_its_end(command);
        let complaints = log.complaints();
        report.verdict(&name, outcome, &complaints);
    }
    report.close();
    Ok(())
}

/// What the daemon itself says about this kernel.
fn doctor() -> Result<Value> {
    let output = Command::new(DAEMON).args(["doctor", "--json"]).output().context("starting the doctor")?;
    // It ends with another status than 0 where something is missing, and says what all the same.
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("what the doctor says: {}{}", output.status, String::from_utf8_lossy(&output.stderr))
    })
}
