//! The commands that run the tests.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{DAEMON, run::SHARED};

/// The folder of the test binaries.
const BINARIES: &str = "/tests";
/// The differential test of the rulebook is a program by itself.
const FUZZER: &str = "/reuse-fuzz-rules";
/// As the other side names it.
const DIFFERENTIAL: &str = "rules::differential";
/// From a fixed beginning, so that a failure is a change of the code or of the kernel, as many as there is time for.
const SCENARIOS: &[&str] = &["--seed", "1", "--scenarios", "2000", "--seconds", "20"];

/// Runs one test, `binary::test`, alone.
///
/// # Errors
/// If that names no test.
pub(crate) fn command(name: &str) -> Result<Command> {
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
