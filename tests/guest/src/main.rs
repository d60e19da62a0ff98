//! Init of the virtual machines that `cargo xtask vm` boots.
//!
//! Starts the daemon on whatever kernel this is, does to it what each check does, says one verdict a line on the
//! console, and powers off. The other side (`xtask/src/vm/verdict.rs`) takes a missing line for a failure.

mod checks;
mod machine;
mod report;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, anyhow};
use reuse_tests::{bpf, daemon::Daemon, skip};

use crate::report::{Report, Verdict};

const START: &str = "start";
const STOP: &str = "stop";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("this program is the init of a virtual machine, booted by `cargo xtask vm`");
        return ExitCode::from(2);
    }
    // An init that returns makes the kernel panic, which the other side sees.
    let outcome = machine::prepare().and_then(|()| judge());
    if let Err(error) = &outcome {
        eprintln!("init: {error:#}");
        return ExitCode::FAILURE;
    }
    machine::power_off()
}

fn judge() -> Result<()> {
    let names = checks::ALL.iter().map(|(name, _)| *name);
    let mut report = Report::begin([START].into_iter().chain(names).chain([STOP]))?;
    let before = bpf::loaded()?;
    match guarded(|| Daemon::start(&[])?.context("no daemon was named to this kernel")) {
        Err(error) => {
            report.say(START, Verdict::Fail, &format!("{error:#}"));
            for name in checks::ALL.iter().map(|(name, _)| *name).chain([STOP]) {
                report.say(name, Verdict::Skip, "there is no daemon to try");
            }
        }
        Ok(daemon) => {
            report.say(
                START,
                Verdict::Pass,
                &format!("ready after {} ms", daemon.start_to_ready.as_millis()),
            );
            for (name, check) in checks::ALL {
                report.outcome(name, guarded(|| check(&daemon)));
            }
            report.outcome(STOP, guarded(|| checks::stop(daemon, &before)));
        }
    }
    if report.has_failures() {
        explain();
    }
    report.close();
    Ok(())
}

/// The outcome of a check whose assertions may panic.
fn guarded<T>(check: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("{}", text.unwrap_or("a check panicked")))
    })
}

/// What the daemon itself says about this kernel.
fn explain() {
    let Some(binary) = std::env::var_os(skip::DAEMON_BIN) else { return };
    match Command::new(binary).arg("doctor").output() {
        Ok(output) => {
            println!("doctor ended with {}", output.status);
            println!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Err(error) => println!("doctor does not start: {error}"),
    }
}
