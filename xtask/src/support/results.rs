//! What a run of the tests on one kernel came to, in a file below cargo's target folder that other commands read.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{tally::Tally, workspace::Workspace};

/// What a test came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Pass,
    /// Not as it should be, or not known.
    Fail,
    /// Could say nothing here.
    Skip,
}

/// A test and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// `binary::test`
    pub(crate) test: String,
    /// What it came to.
    pub(crate) verdict: Verdict,
    /// Why; where it passed, what was smaller in it than elsewhere.
    pub(crate) why: String,
    /// How long it took, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
}

impl Outcome {
    /// A test, or something else that should have happened, that did not.
    pub(crate) fn failure(test: &str, why: String) -> Self {
        Self { test: test.to_owned(), verdict: Verdict::Fail, why, seconds: None }
    }

    /// This outcome counted.
    pub(crate) fn tally(&self) -> Tally {
        match self.verdict {
            Verdict::Pass => Tally { passed: 1, ..Tally::default() },
            Verdict::Fail => Tally { failed: 1, ..Tally::default() },
            Verdict::Skip => Tally { skipped: 1, ..Tally::default() },
        }
    }
}

/// One thing `reuse-daemon doctor --json` looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The tier, or what else was looked at.
    pub(crate) check: String,
    /// Whether it is there, or not asked for.
    pub(crate) ok: bool,
    /// `active`, `off` or `missing`.
    pub(crate) state: String,
    /// The program and where it is attached, or what is wrong.
    pub(crate) detail: String,
    /// How many instructions the kernel's verifier processed for the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verified_instructions: Option<u64>,
}

impl Finding {
    /// The program and where it is attached.
    pub(crate) fn program(&self) -> Option<(&str, &str)> {
        self.detail.split_once(" at ").filter(|_| self.state == "active")
    }
}

/// A run on one kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Which machine: a variant's name, or `host`.
    pub(crate) machine: String,
    /// Kernel parameters beside the usual ones.
    pub(crate) parameters: String,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// What the daemon says of the kernel.
    pub(crate) findings: Vec<Finding>,
    /// Every test.
    pub(crate) tests: Vec<Outcome>,
}

impl Results {
    /// All outcomes counted.
    pub(crate) fn tally(&self) -> Tally {
        self.tests.iter().map(Outcome::tally).sum()
    }

    /// One of each machine, in the order of their names: what several of one name came to is joined.
    pub(crate) fn joined(runs: Vec<Self>) -> Vec<Self> {
        let mut machines = BTreeMap::new();
        for run in runs {
            match machines.entry(run.machine.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(run);
                }
                Entry::Occupied(mut entry) => {
                    let joined: &mut Self = entry.get_mut();
                    if joined.findings.is_empty() {
                        (joined.kernel, joined.findings) = (run.kernel, run.findings);
                    }
                    joined.tests.extend(run.tests);
                }
            }
        }
        let mut joined: Vec<Self> = machines.into_values().collect();
        for results in &mut joined {
            results.tests.sort_by(|one, other| one.test.cmp(&other.test));
        }
        joined
    }

    /// Writes them to their file, in place of those of an earlier run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, workspace: &Workspace) -> Result<PathBuf> {
        let folder = folder(workspace);
        let path = folder.join(format!("{}.json", self.machine));
        let text = serde_json::to_string_pretty(self).context("results as JSON")?;
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, text + "\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// The results of every kernel that was run, by name of the machine.
///
/// # Errors
/// If a file cannot be read or holds something else.
pub(crate) fn all(workspace: &Workspace) -> Result<Vec<Results>> {
    let Ok(entries) = fs::read_dir(folder(workspace)) else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Results> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no results", path.display()))
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("kernels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_machine_are_joined_and_one_that_never_spoke_hides_nothing() {
        let run = |machine: &str, kernel: &str, test: &str| Results {
            machine: machine.into(),
            parameters: String::new(),
            kernel: kernel.into(),
            findings: if kernel == machine {
                Vec::new()
            } else {
                vec![Finding {
                    check: "bind".into(),
                    ok: true,
                    state: "active".into(),
                    detail: String::new(),
                    verified_instructions: None,
                }]
            },
            tests: vec![Outcome::failure(test, String::new())],
        };
        let runs = vec![run("6.1", "6.1", "b"), run("6.12", "6.12.1", "c"), run("6.1", "6.1.9", "a")];
        let joined = Results::joined(runs);
        let seen: Vec<_> =
            joined.iter().map(|results| (results.kernel.as_str(), results.findings.len())).collect();
        assert_eq!(seen, [("6.1.9", 1), ("6.12.1", 1)]);
        let tests: Vec<_> = joined[0].tests.iter().map(|outcome| outcome.test.as_str()).collect();
        assert_eq!(tests, ["a", "b"]);
    }

    #[test]
    fn only_what_is_attached_is_a_program() {
        let finding = |state: &str, detail: &str| Finding {
            check: "bind".into(),
            ok: state != "missing",
            state: state.into(),
            detail: detail.into(),
            verified_instructions: None,
        };
        let attached = finding("active", "sys_exit_bind at tracepoint/syscalls/sys_exit_bind");
        assert_eq!(attached.program(), Some(("sys_exit_bind", "tracepoint/syscalls/sys_exit_bind")));
        assert_eq!(finding("missing", "refused at load").program(), None);
        assert_eq!(finding("off", "dear at any rate").program(), None);
        assert_eq!(finding("active", "all needed capabilities").program(), None);
    }
}
