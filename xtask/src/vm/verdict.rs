//! Reads the verdicts on a virtual machine's console and holds them against what it was given to run. Whatever is missing is a
//! failure: a kernel panic, a stall, a test without a verdict, no closing line.

use serde::Deserialize;

use crate::{
    support::results::{Finding, Outcome, Verdict},
    vm::qemu::Ending,
};

/// What the kernel prints before it stops (`kernel/panic.c`, `panic()`).
const PANIC: &str = "Kernel panic - not syncing";

/// One line of the guest. Lines of the kernel and of the tests are not of this shape.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Verdict {
        kernel: String,
        test: String,
        verdict: Verdict,
        why: String,
        seconds: f64,
    },
    Doctor {
        kernel: String,
        doctor: Vec<Finding>,
    },
    Next {
        #[serde(rename = "next")]
        _judged: usize,
    },
    Closing {
        closing: usize,
    },
}

/// What the guest wants with a line.
#[derive(Debug, PartialEq)]
pub(crate) enum Said<'a> {
    /// It asks for a test.
    Next,
    /// It has judged one.
    Verdict(&'a Outcome),
}

/// What the console has said so far, and the tests that its machine was given.
#[derive(Debug, Default)]
pub(crate) struct Console {
    given: Vec<String>,
    kernel: Option<String>,
    findings: Vec<Finding>,
    outcomes: Vec<Outcome>,
    closing: Option<usize>,
    panic: Option<String>,
}

/// What a machine came to.
#[derive(Debug)]
pub(crate) struct Conclusion {
    /// Release of its kernel, if it said it
    pub(crate) kernel: Option<String>,
    /// What the daemon says of the kernel
    pub(crate) findings: Vec<Finding>,
    /// A verdict for each test that was given, and the failures of the machine itself
    pub(crate) outcomes: Vec<Outcome>,
}

impl Console {
    /// The machine is to run this test.
    pub(crate) fn give(&mut self, test: String) {
        self.given.push(test);
    }

    /// Takes in one line; gives what is to be done about it, if there is something.
    pub(crate) fn feed(&mut self, line: &str) -> Option<Said<'_>> {
        if line.contains(PANIC) {
            self.panic = Some(line.to_owned());
        }
        // A message of the kernel may stand before the guest's line.
        let start = line.find(r#"{""#)?;
        match serde_json::from_str(&line[start..]).ok()? {
            Line::Verdict { kernel, test, verdict, why, seconds } => {
                self.kernel = Some(kernel);
                self.outcomes.push(Outcome { test, verdict, why, seconds: Some(seconds) });
                return self.outcomes.last().map(Said::Verdict);
            }
            Line::Doctor { kernel, doctor } => {
                self.kernel = Some(kernel);
                self.findings = doctor;
            }
            // How many it has judged, its closing line says as well.
            Line::Next { .. } => return Some(Said::Next),
            Line::Closing { closing } => self.closing = Some(closing),
        }
        None
    }

    /// How many verdicts were given.
    pub(crate) fn judged(&self) -> usize {
        self.outcomes.len()
    }

    /// All outcomes, with a failure for everything that should have been said.
    pub(crate) fn conclude(self, ending: Ending) -> Conclusion {
        let Self { given, kernel, findings, mut outcomes, closing, panic } = self;
        let cause = match (&panic, ending) {
            (Some(panic), _) => panic.clone(),
            (None, Ending::Silent(limit)) => {
                format!("the machine stalled: no output for {} s", limit.as_secs())
            }
            (None, Ending::TooLong(limit)) => format!("the machine did not end within {} s", limit.as_secs()),
            (None, Ending::Exited) => "the machine ended".to_owned(),
        };
        let unjudged = given.iter().filter(|test| !outcomes.iter().any(|outcome| outcome.test == **test));
        let mut failures: Vec<Outcome> =
            unjudged.map(|test| Outcome::failure(test, format!("no verdict: {cause}"))).collect();
        match closing {
            None => failures.push(Outcome::failure("machine::closing", format!("no closing line: {cause}"))),
            Some(said) if said != outcomes.len() => {
                let why = format!("{said} verdicts were given, {} arrived", outcomes.len());
                failures.push(Outcome::failure("machine::closing", why));
            }
            Some(_) if panic.is_some() || ending != Ending::Exited => {
                failures.push(Outcome::failure("machine::power_off", cause));
            }
            Some(_) => {}
        }
        outcomes.append(&mut failures);
        Conclusion { kernel, findings, outcomes }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tally::Tally;

    const BIND: &str = r#"{"kernel":"6.1.0","test":"a::bind","verdict":"pass","why":"","seconds":1.5}"#;
    const LISTEN: &str =
        r#"{"kernel":"6.1.0","test":"a::listen","verdict":"skip","why":"tired","seconds":0.0}"#;
    const CLOSING: &str = r#"{"kernel":"6.1.0","closing":2}"#;

    fn conclude(lines: &[&str], ending: Ending) -> Conclusion {
        let mut console = Console::default();
        for test in ["a::bind", "a::listen"] {
            console.give(test.to_owned());
        }
        for line in lines {
            console.feed(line);
        }
        console.conclude(ending)
    }

    fn tally(lines: &[&str], ending: Ending) -> Tally {
        conclude(lines, ending).outcomes.iter().map(Outcome::tally).sum()
    }

    #[test]
    fn a_complete_console_is_counted_as_it_stands() {
        let noise = r#"[    1.0] message {"kernel":"6.1.0","closing":2}"#;
        let lines = ["SeaBIOS", BIND, r#"| {"type":"bind"}"#, LISTEN, noise];
        assert_eq!(tally(&lines, Ending::Exited), Tally { passed: 1, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_machine_asks_and_judges() {
        let mut console = Console::default();
        assert_eq!(console.feed(r#"{"kernel":"6.1.0","next":0}"#), Some(Said::Next));
        assert_eq!(console.feed("a::bind"), None);
        assert!(matches!(console.feed(BIND), Some(Said::Verdict(outcome)) if outcome.test == "a::bind"));
        assert_eq!(console.feed(CLOSING), None);
    }

    #[test]
    fn what_the_daemon_says_of_the_kernel_is_kept() {
        let doctor = r#"{"kernel":"6.1.0","doctor":[{"check":"bind","ok":true,"state":"active","detail":"p at h","verified_instructions":9}]}"#;
        let conclusion = conclude(&[doctor, BIND, LISTEN, CLOSING], Ending::Exited);
        assert_eq!(conclusion.kernel.as_deref(), Some("6.1.0"));
        assert_eq!(conclusion.findings[0].verified_instructions, Some(9));
    }

    #[test]
    fn a_panic_fails_what_was_not_judged_and_is_named() {
        let panic = "[    2.5] Kernel panic - not syncing: Attempted to kill init!";
        let outcomes = conclude(&[BIND, panic], Ending::Exited).outcomes;
        let listen = outcomes.iter().find(|outcome| outcome.test == "a::listen").unwrap();
        assert_eq!(listen.verdict, Verdict::Fail);
        assert!(listen.why.contains("Attempted to kill init"), "{}", listen.why);
    }

    #[test]
    fn a_panic_after_the_closing_line_fails_too() {
        let lines = [BIND, LISTEN, CLOSING, "Kernel panic - not syncing: late"];
        assert_eq!(tally(&lines, Ending::Exited).failed, 1);
    }

    #[test]
    fn a_stall_and_an_endless_machine_fail() {
        for ending in [Ending::Silent(Duration::from_secs(60)), Ending::TooLong(Duration::from_secs(240))] {
            assert_eq!(tally(&[BIND], ending).failed, 2);
            assert_eq!(tally(&[BIND, LISTEN, CLOSING], ending).failed, 1);
        }
    }

    #[test]
    fn a_test_without_verdict_and_a_missing_closing_line_fail() {
        assert_eq!(tally(&[BIND, CLOSING], Ending::Exited).failed, 2);
        assert_eq!(tally(&[BIND, LISTEN], Ending::Exited).failed, 1);
    }

    #[test]
    fn a_machine_that_never_spoke_fails_every_test_by_name() {
        let conclusion = conclude(&["SeaBIOS"], Ending::Exited);
        assert!(conclusion.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Fail));
        let names: Vec<_> = conclusion.outcomes.iter().map(|outcome| outcome.test.as_str()).collect();
        assert_eq!(names, ["a::bind", "a::listen", "machine::closing"]);
    }
}
