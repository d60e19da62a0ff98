//! Counts the tests of a `cargo test` run by what it prints.
//!
//! A test that cannot say anything here prints `SKIP <test>: <why>` and returns, and the test runner counts it as
//! passed; here it counts as skipped.

use std::collections::BTreeMap;

use crate::{
    support::results::{Outcome, Verdict},
    tally::Tally,
};

/// What the lines of a run have said so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    counted: Tally,
    tests: Vec<(String, Verdict)>,
    skips: BTreeMap<String, String>,
}

/// What a run came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    /// All tests counted.
    pub(crate) tally: Tally,
    /// Each test that was named with what it came to.
    pub(crate) outcomes: Vec<Outcome>,
}

impl Transcript {
    /// Takes in one line of either stream.
    pub(crate) fn feed(&mut self, line: &str) {
        if let Some(result) = line.trim_start().strip_prefix("test result: ") {
            self.counted += result_line(result);
        } else if let Some((name, why)) = skipped(line) {
            self.skips.insert(name.to_owned(), why.to_owned());
        } else if let Some((name, verdict)) = verdict_line(line) {
            self.tests.push((name.to_owned(), verdict));
        }
    }

    /// The totals; a run that did not succeed has at least one failure, whether a test could say so or not (it did not
    /// compile, it died by a signal).
    pub(crate) fn conclude(self, success: bool) -> Run {
        let Self { counted: Tally { passed, failed, skipped }, tests, skips } = self;
        let silent = usize::from(!success && failed == 0);
        let tally = Tally {
            passed: passed.saturating_sub(skips.len()),
            failed: failed + silent,
            skipped: skipped + skips.len(),
        };
        let outcomes = tests.into_iter().map(|(test, verdict)| match (skips.get(&test), verdict) {
            (Some(why), Verdict::Pass) => {
                Outcome { test, verdict: Verdict::Skip, why: why.clone(), seconds: None }
            }
            (_, verdict) => Outcome { test, verdict, why: String::new(), seconds: None },
        });
        Run { tally, outcomes: outcomes.collect() }
    }
}

/// `test name ... ok`
fn verdict_line(line: &str) -> Option<(&str, Verdict)> {
    let (name, word) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let verdict = match word.trim() {
        "ok" => Verdict::Pass,
        "FAILED" => Verdict::Fail,
        word if word.starts_with("ignored") => Verdict::Skip,
        _ => return None,
    };
    Some((name, verdict))
}

/// `ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; ...`
fn result_line(result: &str) -> Tally {
    let counts = result.split_once(". ").map_or(result, |(_, counts)| counts);
    let count = |what: &str| {
        counts
            .split(';')
            .filter_map(|part| part.trim().split_once(' '))
            .find(|(_, kind)| *kind == what)
            .and_then(|(number, _)| number.parse().ok())
            .unwrap_or(0)
    };
    Tally { passed: count("passed"), failed: count("failed"), skipped: count("ignored") }
}

/// Name and reason in `SKIP <name>: <why>`; the runner may have begun the line with `test <name> ... `.
fn skipped(line: &str) -> Option<(&str, &str)> {
    let start = if line.starts_with("SKIP ") { 0 } else { line.find(" SKIP ")? + 1 };
    line[start..].strip_prefix("SKIP ")?.split_once(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str], success: bool) -> Run {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.feed(line);
        }
        transcript.conclude(success)
    }

    fn conclude(lines: &[&str], success: bool) -> Tally {
        run(lines, success).tally
    }

    #[test]
    fn each_test_is_named_with_what_it_came_to() {
        let lines =
            ["test a ... ok", "SKIP b: no such kernel", "test b ... ok", "test c ... FAILED", "test d ... "];
        let run = run(&lines, false);
        let outcomes: Vec<_> =
            run.outcomes.iter().map(|it| (it.test.as_str(), it.verdict, it.why.as_str())).collect();
        let expected =
            [("a", Verdict::Pass, ""), ("b", Verdict::Skip, "no such kernel"), ("c", Verdict::Fail, "")];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn binaries_add_up_and_ignored_tests_are_skipped() {
        let lines = [
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ];
        assert_eq!(conclude(&lines, false), Tally { passed: 7, failed: 3, skipped: 1 });
    }

    #[test]
    fn a_test_that_says_skip_is_skipped_once_and_not_passed() {
        let lines = [
            "test a::b ... SKIP a::b: no such kernel",
            "SKIP a::b: no such kernel",
            "SKIP c: not root",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ];
        assert_eq!(conclude(&lines, true), Tally { passed: 1, failed: 0, skipped: 2 });
    }

    #[test]
    fn a_run_that_died_without_a_word_failed() {
        assert_eq!(conclude(&[], false), Tally { passed: 0, failed: 1, skipped: 0 });
        assert_eq!(conclude(&[], true), Tally::default());
    }
}
