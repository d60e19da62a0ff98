//! What `doctor` found, for people: a verdict, then a line for each thing, with its remedy below.

use std::collections::BTreeSet;

use super::{ALL, Report, SOME, State};

pub(super) fn render(report: &Report, status: u8) -> String {
    let verdict = match status {
        ALL => "everything the daemon wants to see can be seen",
        SOME => "the daemon runs, but not everything can be seen",
        _ => "the daemon cannot run here",
    };
    let mut out = format!("Linux {} (lockdown: {}): {verdict}\n", report.kernel, report.lockdown);
    // A program that serves several tiers has its cost once.
    let mut told = BTreeSet::new();
    for finding in &report.doctor {
        let mark = match finding.state {
            State::Active => "ok     ",
            State::Off => "off    ",
            State::Missing => "MISSING",
        };
        out += &format!("  {mark} {:<16} {}", finding.check, finding.detail);
        if let Some(count) = finding.verified_instructions.filter(|_| told.insert(&finding.detail)) {
            out += &format!(" ({count} instructions verified)");
        }
        if let Some(remedy) = &finding.remedy {
            let word = if finding.state == State::Off { "to have it" } else { "remedy" };
            out += &format!("\n          {word}: {remedy}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::doctor::{Finding, json},
        kernel::plan::{Gap, Tier},
    };

    #[test]
    fn a_gap_shows_its_remedy_and_a_program_its_cost() {
        let program = Finding { verified_instructions: Some(43), ..Finding::good("bind", "sys_exit_bind") };
        let gap = Finding::bad("close", "no cgroup v2", "mount it");
        let off = Gap { tier: Tier::ImplicitSend, reason: "too dear".to_owned(), remedy: "ask for it" };
        let report = Report {
            schema: 1,
            kernel: "6.18".to_owned(),
            lockdown: "integrity",
            btf: None,
            doctor: vec![program, gap, Finding::off(&off), Finding::good("answers", "sys_exit_bind")],
            lacks: Vec::new(),
        };
        let shown = render(&report, SOME);
        assert!(shown.starts_with("Linux 6.18 (lockdown: integrity): the daemon runs, but"), "{shown}");
        assert!(shown.contains("sys_exit_bind (43 instructions verified)\n"), "{shown}");
        assert!(shown.contains("answers          sys_exit_bind\n"), "{shown}");
        assert!(
            shown.contains("MISSING close            no cgroup v2\n          remedy: mount it"),
            "{shown}"
        );
        assert!(
            shown.contains("off     implicit_sendto  too dear\n          to have it: ask for it"),
            "{shown}"
        );
        let json = json(&report);
        assert!(json.contains(r#""schema":1"#) && json.contains(r#""state":"missing""#), "{json}");
    }
}
