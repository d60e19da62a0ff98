//! The lines the other side reads: what the daemon says of this kernel, a verdict for each test, and a closing line with
//! their number. What a failed test wrote stands before its verdict.

use std::{fs, io::Write as _};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::run::{Ending, Finished};

/// No more than this of what a failed test wrote: its last lines.
const SHOWN: usize = 150;
/// No more than this in the words of a verdict, in bytes.
const WORDS: usize = 600;
/// Where the harness has said nothing else about a failure.
const NO_REASON: &str = "it says nothing";

/// What a test came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// With what it did less often here, if anything
    Pass(String),
    Fail(String),
    Skip(String),
}

/// The report of one kernel.
#[derive(Debug)]
pub(crate) struct Report {
    kernel: String,
    given: usize,
}

impl Report {
    /// Begins it.
    ///
    /// # Errors
    /// When the kernel does not tell its release.
    pub(crate) fn begin() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
        Ok(Self { kernel: release.trim_end().to_owned(), given: 0 })
    }

    /// Asks what is to be run next.
    pub(crate) fn ask(&self) {
        line(&json!({ "kernel": self.kernel, "next": self.given }));
    }

    /// What the daemon's doctor says, as it says it.
    pub(crate) fn doctor(&self, doctor: &Value) {
        line(&json!({ "kernel": self.kernel, "doctor": doctor["doctor"] }));
    }

    /// The verdict on a test that ran, or could not be run. The kernel's complaints fail it whatever it says.
    pub(crate) fn verdict(&mut self, test: &str, finished: Result<Finished>, complaints: &[String]) {
        let (verdict, output, seconds) = match finished {
            Ok(Finished { ending, output, took }) => {
                (judge(&ending, &output, complaints), output, took.as_secs_f64())
            }
            Err(error) => (Verdict::Fail(format!("{error:#}")), String::new(), 0.0),
        };
        if matches!(verdict, Verdict::Fail(_)) {
            let lines: Vec<&str> = output.lines().collect();
            for text in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
                println!("| {text}");
            }
        }
        let (word, why) = match &verdict {
            Verdict::Pass(smaller) => ("pass", smaller.as_str()),
            Verdict::Fail(why) => ("fail", why.as_str()),
            Verdict::Skip(why) => ("skip", why.as_str()),
        };
        self.given += 1;
        let seconds = (seconds * 100.0).round() / 100.0;
        line(&json!({
            "kernel": self.kernel, "test": test, "verdict": word, "why": cut(why), "seconds": seconds,
        }));
    }

    /// Ends the report.
    pub(crate) fn close(self) {
        line(&json!({ "kernel": self.kernel, "closing": self.given }));
    }
}

fn judge(ending: &Ending, output: &str, complaints: &[String]) -> Verdict {
    if let Some(complaint) = complaints.first() {
        return Verdict::Fail(format!("the kernel complained: {complaint}"));
    }
    match ending {
        Ending::Exited(0) if output.contains("running 0 tests") => {
            Verdict::Fail("there is no such test".to_owned())
        }
        Ending::Exited(0) => skipped(output).map_or_else(|| Verdict::Pass(smaller(output)), Verdict::Skip),
        Ending::Exited(_) => Verdict::Fail(reason(output)),
        Ending::Killed(signal) => Verdict::Fail(format!("killed by {signal}")),
        Ending::Hung(limit) => Verdict::Fail(format!("not done after {} s", limit.as_secs())),
    }
}

/// The reason in a line `SKIP <test>: <why>` (tests/src/skip.rs).
fn skipped(output: &str) -> Option<String> {
    let line = output.lines().find_map(|line| line.strip_prefix("SKIP "))?;
    line.split_once(": ").map(|(_, why)| why.to_owned())
}

/// What follows `SMALLER: ` (tests/src/effort.rs), each thing once.
fn smaller(output: &str) -> String {
    let mut things: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("SMALLER: ")).collect();
    things.dedup();
    things.join("; ")
}

/// Why a test failed: the error it returned, with its causes, or else the first line of its panic.
fn reason(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    // The harness has begun the line: `test <name> ... `.
    let mut errors =
        lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.split_once("Error: ")?.1)));
    if let Some((at, error)) = errors.next_back() {
        let causes = lines.iter().skip(at + 1).take_while(|line| !["FAILED", "failures:"].contains(line));
        let words = [error].into_iter().chain(causes.copied()).filter(|words| !words.is_empty());
        return words.collect::<Vec<_>>().join(" ");
    }
    let panic = lines.iter().position(|line| line.contains("panicked at"));
    let words: Vec<&str> = match panic {
        Some(at) => lines.iter().skip(at + 1).take(3).copied().collect(),
        None => lines.iter().rev().find(|line| !line.is_empty()).copied().into_iter().collect(),
    };
    if words.is_empty() { NO_REASON.to_owned() } else { words.join(" ") }
}

/// At most [`WORDS`] bytes.
fn cut(words: &str) -> &str {
    words.get(..words.floor_char_boundary(WORDS)).unwrap_or(words)
}

/// Writes a line whole. A console that cannot be written to leaves the other side without its lines, which it notices.
fn line(value: &Value) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{value}");
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judged(status: i32, output: &str) -> Verdict {
        judge(&Ending::Exited(status), output, &[])
    }

    #[test]
    fn a_test_that_ran_passes_and_one_that_does_not_exist_fails() {
        let output = "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed";
        assert_eq!(judged(0, output), Verdict::Pass(String::new()));
        assert!(matches!(judged(0, "\nrunning 0 tests\n"), Verdict::Fail(_)));
    }

    #[test]
    fn a_skipped_test_says_why() {
        let output = "test a ... \nSKIP a: no such program\nok\n";
        assert_eq!(judged(0, output), Verdict::Skip("no such program".to_owned()));
    }

    #[test]
    fn a_smaller_test_passes_with_what_is_smaller() {
        let output =
            "running 1 test\n\nSMALLER: 4 rounds instead of 40\n\nSMALLER: 4 rounds instead of 40\nok\n";
        assert_eq!(judged(0, output), Verdict::Pass("4 rounds instead of 40".to_owned()));
    }

    #[test]
    fn a_failure_gives_its_error_with_causes_or_its_panic() {
        let error =
            "running 1 test\ntest a ... Error: the bind\n\nCaused by:\n    no route\nFAILED\n\nfailures:\n";
        assert_eq!(reason(error), "the bind Caused by: no route");
        let panic =
            "thread 'a' (7) panicked at tests/a.rs:3:5:\nassertion failed\n  left: 1\n right: 2\nnote: x\n";
        assert_eq!(reason(panic), "assertion failed left: 1 right: 2");
        assert_eq!(reason(""), NO_REASON);
    }

    #[test]
    fn hanging_dying_and_complaining_kernels_fail() {
        for ending in
            [Ending::Hung(Duration::from_secs(1)), Ending::Killed(nix::sys::signal::Signal::SIGSEGV)]
        {
            assert!(matches!(judge(&ending, "", &[]), Verdict::Fail(_)));
        }
        let complained = judge(&Ending::Exited(0), "running 1 test", &["WARNING: CPU: 0".to_owned()]);
        assert!(matches!(complained, Verdict::Fail(why) if why.contains("WARNING: CPU: 0")));
    }
}
