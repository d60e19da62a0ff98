//! Which tests are run here, and the commands that run them.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{DAEMON, run::SHARED};

/// One test a line, `binary::test`; written by the other side.
const PLAN: &str = "/plan";
/// The folder of the test binaries.
const BINARIES: &str = "/tests";
/// The differential test of the rulebook is a program by itself.
const FUZZER: &str = "/reuse-fuzz-rules";
/// As the plan names it.
const DIFFERENTIAL: &str = "rules::differential";
/// From a fixed beginning, so that a failure is a change of the code or of the kernel, as many as there is time for.
const SCENARIOS: &[&str] = &["--seed", "1", "--scenarios", "2000", "--seconds", "20"];

/// A test and how it is run.
#[derive(Debug)]
pub(crate) struct Planned {
    /// `binary::test`
    pub(crate) name: String,
    /// Runs this test alone
    pub(crate) command: Command,
}

/// The plan.
///
/// # Errors
/// If it cannot be read or names what cannot be run.
pub(crate) fn planned() -> Result<Vec<Planned>> {
    let plan = fs::read_to_string(PLAN).context(PLAN)?;
    plan.lines().map(|name| Ok(Planned { name: name.to_owned(), command: command(name)? })).collect()
}

fn command(name: &str) -> Result<Command> {
    let mut command = if name == DIFFERENTIAL {
        let mut fuzzer = Command::new(FUZZER);
        fuzzer.args(SCENARIOS);
        fuzzer
    } else {
        let (binary, test) = name.split_once("::").with_context(|| format!("{name} names no test binary"))?;
        let mut harness = Command::new(format!("{BINARIES}/{binary}"));
        harness.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        harness
    };
    command
        .env("PATH", "/usr/bin")
        .env("HOME", "/root")
        .env("REUSE_DAEMON_BIN", DAEMON)
        .env("REUSE_FUZZ_RULES_BIN", FUZZER)
        .env("REUSE_TESTS_SHARED", SHARED)
        // A cache of compiled modules is looked for, never written.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}
