//! The end-to-end suite on this machine's own kernel, as root.

use std::{ffi::OsStr, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{
    privilege, process,
    support::results::{Finding, Outcome, Results},
    tally::Tally,
    test::{counted::counted, suite::TestBinary},
};

/// What this machine's results are filed under.
const MACHINE: &str = "host";

/// Runs every test binary.
///
/// # Errors
/// If one cannot be started, or root cannot be had. A failing test is a result.
pub(crate) fn run(
    tests: &[TestBinary],
    folder: &Path,
    path: &OsStr,
    binaries: &[(&str, &Path)],
) -> Result<(Tally, Vec<Outcome>)> {
    let (mut tally, mut outcomes) = (Tally::default(), Vec::new());
    for TestBinary { name, path: binary, .. } in tests {
        println!("     Running {name} ({})", binary.display());
        let mut command = privilege::as_root("env")?;
        command.args(arguments(binary, path, binaries)).current_dir(folder);
        let run = counted(command)?;
        tally += run.tally;
        outcomes.extend(
            run.outcomes
                .into_iter()
                .map(|outcome| Outcome { test: format!("{name}::{}", outcome.test), ..outcome }),
        );
    }
    Ok((tally, outcomes))
}

/// sudo resets the environment, so what the tests need is set behind it.
fn arguments(binary: &Path, path: &OsStr, binaries: &[(&str, &Path)]) -> Vec<String> {
    let binaries = binaries.iter().map(|(name, path)| format!("{name}={}", path.display()));
    let variables = [format!("PATH={}", path.display())].into_iter().chain(binaries);
    variables.chain([binary.display().to_string(), "--test-threads=1".to_owned()]).collect()
}

/// What the daemon says of this machine's kernel, with the outcomes of the tests there.
///
/// # Errors
/// If the daemon cannot be asked.
pub(crate) fn results(daemon: &Path, tests: Vec<Outcome>) -> Result<Results> {
    #[derive(Deserialize)]
    struct Doctor {
        kernel: String,
        doctor: Vec<Finding>,
    }
    let mut command: Command = privilege::as_root(&daemon.to_string_lossy())?;
    command.args(["doctor", "--json"]);
    let output = command.output().with_context(|| format!("cannot start `{}`", process::render(&command)))?;
    let Doctor { kernel, doctor } = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`{}` printed something unknown", process::render(&command)))?;
    Ok(Results { machine: MACHINE.to_owned(), parameters: String::new(), kernel, findings: doctor, tests })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sudo_takes_away_is_set_again_behind_it() {
        let arguments =
            arguments(Path::new("/t/http-1"), "/a:/b c".as_ref(), &[("REUSE_DAEMON_BIN", Path::new("/d"))]);
        assert_eq!(arguments, ["PATH=/a:/b c", "REUSE_DAEMON_BIN=/d", "/t/http-1", "--test-threads=1"]);
    }
}
