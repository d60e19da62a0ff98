//! The lines the other side reads: the plan, a verdict for each check, and a closing line with their number.

use std::{fs, io::Write as _};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// Could not be tried.
    Skip,
}

/// The report of one kernel.
#[derive(Debug)]
pub(crate) struct Report {
    kernel: String,
    given: usize,
    failed: bool,
}

impl Report {
    /// Announces the checks.
    ///
    /// # Errors
    /// When the kernel does not tell its release.
    pub(crate) fn begin<'a>(plan: impl Iterator<Item = &'a str>) -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
        let kernel = release.trim_end().to_owned();
        line(&json!({ "kernel": kernel, "plan": plan.collect::<Vec<_>>() }));
        Ok(Self { kernel, given: 0, failed: false })
    }

    /// The verdict of a check that passes unless it fails.
    pub(crate) fn outcome(&mut self, test: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.say(test, Verdict::Pass, ""),
            Err(error) => self.say(test, Verdict::Fail, &format!("{error:#}")),
        }
    }

    /// A verdict.
    pub(crate) fn say(&mut self, test: &str, verdict: Verdict, why: &str) {
        self.given += 1;
        self.failed |= verdict == Verdict::Fail;
        let verdict = match verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Skip => "skip",
        };
        line(&json!({ "kernel": self.kernel, "test": test, "verdict": verdict, "why": why }));
    }

    /// Whether a check failed.
    pub(crate) fn has_failures(&self) -> bool {
        self.failed
    }

    /// Ends the report.
    pub(crate) fn close(self) {
        line(&json!({ "kernel": self.kernel, "closing": self.given }));
    }
}

/// Writes a line whole. A console that cannot be written to leaves the other side without its lines, which it notices.
fn line(value: &Value) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{value}");
    let _ = stdout.flush();
}
