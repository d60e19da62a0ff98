//! Reads the verdicts on a virtual machine's console: what was planned, what was said about it, and whether it was said
//! to the end. Whatever is missing is a failure: a kernel panic, a stall, a test without a verdict, no closing line.

use std::fmt;

use serde::Deserialize;

use crate::{tally::Tally, vm::qemu::Ending};

/// What the kernel prints before it stops (`kernel/panic.c`, `panic()`).
const PANIC: &str = "Kernel panic - not syncing";

/// What a test came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Pass,
    Fail,
    Skip,
}

/// One line of the guest. Lines of the kernel and of the daemon are not of this shape.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Verdict { kernel: String, test: String, verdict: Verdict, why: String },
    Plan { kernel: String, plan: Vec<String> },
    Closing { closing: usize },
}

/// A verdict, or the failure to give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    kernel: String,
    test: String,
    verdict: Verdict,
    why: String,
}

impl Outcome {
    /// This outcome counted.
    pub(crate) fn tally(&self) -> Tally {
        match self.verdict {
            Verdict::Pass => Tally { passed: 1, ..Tally::default() },
            Verdict::Fail => Tally { failed: 1, ..Tally::default() },
            Verdict::Skip => Tally { skipped: 1, ..Tally::default() },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, test, verdict, why } = self;
        match verdict {
            Verdict::Pass => write!(f, "vm {kernel} {test} ... ok"),
            Verdict::Fail => write!(f, "vm {kernel} {test} ... FAILED: {why}"),
            Verdict::Skip => write!(f, "SKIP vm {kernel} {test}: {why}"),
        }
    }
}

/// What the console has said so far.
#[derive(Debug, Default)]
pub(crate) struct Console {
    kernel: Option<String>,
    plan: Option<Vec<String>>,
    outcomes: Vec<Outcome>,
    closing: Option<usize>,
    panic: Option<String>,
}

impl Console {
    /// Takes in one line.
    pub(crate) fn feed(&mut self, line: &str) {
        if line.contains(PANIC) {
            self.panic = Some(line.to_owned());
        }
        // A message of the kernel may stand before the guest's line.
        let Some(start) = line.find(r#"{""#) else { return };
        match serde_json::from_str(&line[start..]) {
            Ok(Line::Verdict { kernel, test, verdict, why }) => {
                self.outcomes.push(Outcome { kernel, test, verdict, why });
            }
            Ok(Line::Plan { kernel, plan }) => {
                self.kernel = Some(kernel);
                self.plan = Some(plan);
            }
            Ok(Line::Closing { closing }) => self.closing = Some(closing),
            Err(_) => {}
        }
    }

    /// All outcomes, with a failure for everything that should have been said.
    pub(crate) fn conclude(self, ending: Ending) -> Vec<Outcome> {
        let Self { kernel, plan, mut outcomes, closing, panic } = self;
        let kernel = kernel.unwrap_or_else(|| "unknown".to_owned());
        let cause = match (&panic, ending) {
            (Some(panic), _) => panic.clone(),
            (None, Ending::Silent(limit)) => {
                format!("the machine stalled: no output for {} s", limit.as_secs())
            }
            (None, Ending::TooLong(limit)) => format!("the machine did not end within {} s", limit.as_secs()),
            (None, Ending::Exited) => "the machine ended".to_owned(),
        };
        let failure = |test: &str, why: String| Outcome {
            kernel: kernel.clone(),
            test: test.to_owned(),
            verdict: Verdict::Fail,
            why,
        };
        let mut failures = Vec::new();
        match &plan {
            None => failures.push(failure("boot", format!("no plan from init: {cause}"))),
            Some(plan) => {
                let unjudged =
                    plan.iter().filter(|test| !outcomes.iter().any(|outcome| outcome.test == **test));
                failures.extend(unjudged.map(|test| failure(test, format!("no verdict: {cause}"))));
            }
        }
        match closing {
            None => failures.push(failure("closing", format!("no closing line: {cause}"))),
            Some(said) if said != outcomes.len() => {
                let why = format!("{said} verdicts were given, {} arrived", outcomes.len());
                failures.push(failure("closing", why));
            }
            Some(_) if panic.is_some() || ending != Ending::Exited => {
                failures.push(failure("power_off", cause.clone()));
            }
            Some(_) => {}
        }
        outcomes.append(&mut failures);
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PLAN: &str = r#"{"kernel":"6.1.0","plan":["bind","listen"]}"#;
    const BIND: &str = r#"{"kernel":"6.1.0","test":"bind","verdict":"pass","why":""}"#;
    const LISTEN: &str = r#"{"kernel":"6.1.0","test":"listen","verdict":"skip","why":"tired"}"#;
    const CLOSING: &str = r#"{"kernel":"6.1.0","closing":2}"#;

    fn conclude(lines: &[&str], ending: Ending) -> Vec<Outcome> {
        let mut console = Console::default();
        for line in lines {
            console.feed(line);
        }
        console.conclude(ending)
    }

    fn tally(lines: &[&str], ending: Ending) -> Tally {
        conclude(lines, ending).iter().map(Outcome::tally).sum()
    }

    #[test]
    fn a_complete_console_is_counted_as_it_stands() {
        let noise = r#"[    1.0] message {"kernel":"6.1.0","closing":2}"#;
        let lines = ["SeaBIOS", PLAN, BIND, r#"{"type":"bind"}"#, LISTEN, noise];
        assert_eq!(tally(&lines, Ending::Exited), Tally { passed: 1, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_panic_fails_what_was_not_judged_and_is_named() {
        let panic = "[    2.5] Kernel panic - not syncing: Attempted to kill init!";
        let outcomes = conclude(&[PLAN, BIND, panic], Ending::Exited);
        let listen = outcomes.iter().find(|outcome| outcome.test == "listen").unwrap();
        assert_eq!(listen.verdict, Verdict::Fail);
        assert!(listen.why.contains("Attempted to kill init"), "{}", listen.why);
    }

    #[test]
    fn a_panic_after_the_closing_line_fails_too() {
        let lines = [PLAN, BIND, LISTEN, CLOSING, "Kernel panic - not syncing: late"];
        assert_eq!(tally(&lines, Ending::Exited).failed, 1);
    }

    #[test]
    fn a_stall_and_an_endless_machine_fail() {
        for ending in [Ending::Silent(Duration::from_secs(60)), Ending::TooLong(Duration::from_secs(240))] {
            assert_eq!(tally(&[PLAN, BIND], ending).failed, 2);
            assert_eq!(tally(&[PLAN, BIND, LISTEN, CLOSING], ending).failed, 1);
        }
    }

    #[test]
    fn a_test_without_verdict_and_a_missing_closing_line_fail() {
        assert_eq!(tally(&[PLAN, BIND, CLOSING], Ending::Exited).failed, 2);
        assert_eq!(tally(&[PLAN, BIND, LISTEN], Ending::Exited).failed, 1);
    }

    #[test]
    fn a_machine_that_never_spoke_fails() {
        let outcomes = conclude(&["SeaBIOS"], Ending::Exited);
        assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Fail));
        assert_eq!(outcomes[0].test, "boot");
    }
}
