//! What each program costs the kernel's verifier, held against what was recorded: a change that makes one half as dear
//! again may stop it from loading on another kernel, and is meant or it is not.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{support::results::Results, tally::Tally, workspace::Workspace};

/// The record, below the root of the workspace.
const RECORD: &str = "docs/verifier_cost.json";

/// Instructions the verifier processed, by series of the kernel and by program.
type Record = BTreeMap<String, BTreeMap<String, u64>>;

/// A program that grew too much.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Growth {
    program: String,
    kernel: String,
    before: u64,
    after: u64,
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, kernel, before, after } = self;
        write!(
            f,
            "the program {program} costs the verifier of Linux {kernel} {after} instructions, {before} are \
             recorded: if it is meant to, record it with `cargo xtask support --record-cost`, which writes {RECORD}"
        )
    }
}

/// Compares a run with the record, says what grew by half or more, and counts it as failed. What is not recorded yet is
/// said and fails nothing.
///
/// # Errors
/// If the record cannot be read.
pub(crate) fn check(workspace: &Workspace, results: &Results) -> Result<Tally> {
    let recorded = read(workspace)?.remove(&series(&results.kernel)).unwrap_or_default();
    let measured = measured(results);
    let unrecorded: Vec<&str> =
        measured.keys().filter(|program| !recorded.contains_key(*program)).map(String::as_str).collect();
    if !unrecorded.is_empty() {
        println!(
            "note: what these cost the verifier of Linux {} is not recorded (`cargo xtask support --record-cost` \
             does): {}",
            results.kernel,
            unrecorded.join(", ")
        );
    }
    let grown = compare(&results.kernel, &recorded, &measured);
    for growth in &grown {
        println!("verifier cost ... FAILED: {growth}");
    }
    Ok(Tally { failed: grown.len(), ..Tally::default() })
}

/// Writes what these runs measured into the record; series that were not run stay as they are. A kernel with parameters of
/// its own may have fewer programs and is no measure.
///
/// # Errors
/// If the record cannot be read or written.
pub(crate) fn record(workspace: &Workspace, results: &[Results]) -> Result<PathBuf> {
    let mut record = read(workspace)?;
    for results in results.iter().filter(|results| results.parameters.is_empty()) {
        let measured = measured(results);
        if !measured.is_empty() {
            record.insert(series(&results.kernel), measured);
        }
    }
    let path = workspace.root.join(RECORD);
    let text = serde_json::to_string_pretty(&record).context("the record as JSON")? + "\n";
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read(workspace: &Workspace) -> Result<Record> {
    let path = workspace.root.join(RECORD);
    if !path.exists() {
        return Ok(Record::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no record", path.display()))
}

/// The cost of each program of a run.
pub(crate) fn measured(results: &Results) -> BTreeMap<String, u64> {
    let findings = results.findings.iter();
    findings
        .filter_map(|finding| Some((finding.program()?.0.to_owned(), finding.verified_instructions?)))
        .collect()
}

fn compare(kernel: &str, recorded: &BTreeMap<String, u64>, measured: &BTreeMap<String, u64>) -> Vec<Growth> {
    let both =
        measured.iter().filter_map(|(program, after)| Some((program, *recorded.get(program)?, *after)));
    both.filter(|(_, before, after)| after.saturating_mul(2) >= before.saturating_mul(3))
        .map(|(program, before, after)| Growth {
            program: program.clone(),
            kernel: kernel.to_owned(),
            before,
            after,
        })
        .collect()
}

/// The first two numbers of a release: later ones of a series verify alike.
fn series(release: &str) -> String {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    format!("{}.{}", numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(costs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        costs.iter().map(|(program, cost)| ((*program).to_owned(), *cost)).collect()
    }

    #[test]
    fn growth_by_half_is_told_and_less_is_not() {
        let recorded = costs(&[("bind", 1000), ("listen", 1000), ("sample", 1000), ("gone", 1)]);
        let measured = costs(&[("bind", 1500), ("listen", 1499), ("sample", 10), ("new", 99)]);
        let grown = compare("6.1.0", &recorded, &measured);
        let [growth] = grown.as_slice() else { panic!("{grown:?}") };
        assert_eq!((growth.program.as_str(), growth.before, growth.after), ("bind", 1000, 1500));
        let said = growth.to_string();
        for word in ["bind", "6.1.0", "1000", "1500", "--record-cost", RECORD] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }

    #[test]
    fn releases_of_a_series_share_its_record() {
        assert_eq!(series("6.1.0-56-cloud-amd64"), "6.1");
        assert_eq!(series("6.12.117+deb12-cloud-amd64"), "6.12");
        assert_eq!(series("6.18.44-fc-v669"), "6.18");
    }
}
