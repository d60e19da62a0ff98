//! `doctor`: what these privileges and this kernel allow, by loading and attaching everything once, and what mends each
//! gap.

use std::{io::Write as _, path::Path, process::ExitCode};

use serde::Serialize;

use crate::{
    cli::DoctorArguments,
    kernel::{
        attach::{self, Kernel, Options, Stage},
        btf,
        plan::{Step, Wanted},
        privileges,
    },
};

/// All tiers
const ALL: u8 = 0;
/// Some missing
const SOME: u8 = 1;
/// Cannot run
const NONE: u8 = 2;

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    kernel: String,
    doctor: Vec<Finding>,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_instructions: Option<u64>,
}

impl Finding {
    fn good(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            ok: true,
            detail: detail.into(),
            remedy: None,
            verified_instructions: None,
        }
    }

    fn bad(check: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { ok: false, remedy: Some(remedy.into()), ..Self::good(check, detail) }
    }
}

/// Runs the command.
#[must_use]
pub fn main(arguments: &DoctorArguments) -> ExitCode {
    let (doctor, status) = examine(arguments.btf_path.as_deref().unwrap_or(Path::new(btf::DEFAULT_PATH)));
    let kernel = nix::sys::utsname::uname()
        .map_or_else(|_| "unknown".to_owned(), |name| name.release().to_string_lossy().into_owned());
    let report = Report { schema: 1, kernel, doctor };
    let text = if arguments.json { json(&report) } else { text(&report, status) };
    // A closed stdout leaves nobody to tell.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(status)
}

fn examine(btf: &Path) -> (Vec<Finding>, u8) {
    let mut findings = vec![look_at_privileges()];
    if findings.iter().any(|finding| !finding.ok) {
        return (findings, NONE);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            findings.push(Finding::bad("runtime", error.to_string(), "raise the limit of open files"));
            return (findings, NONE);
        }
    };
    let _within = runtime.enter();
    match attach::start(&Options { btf, wanted: Wanted::default(), log_level: 0 }) {
        Ok((kernel, _maps)) => {
            findings.extend(look_at_programs(&kernel));
            let status = if kernel.gaps.is_empty() { ALL } else { SOME };
            (findings, status)
        }
        Err(error) => {
            findings.push(Finding::bad("programs", error.to_string(), "see the detail"));
            (findings, NONE)
        }
    }
}

fn look_at_privileges() -> Finding {
    match privileges::check() {
        Ok(()) => Finding::good("privileges", "all needed capabilities"),
        Err(error) => Finding::bad(
            "privileges",
            error.in_full(),
            "run as root (sudo), or grant them to the service (AmbientCapabilities= in its unit)",
        ),
    }
}

fn look_at_programs(kernel: &Kernel) -> Vec<Finding> {
    let attached =
        kernel.stats().filter(|(planned, _)| planned.stage != Stage::Refused).map(|(planned, stats)| {
            let detail = format!("{} at {}", planned.step.program, planned.step.hook.label());
            let verified_instructions = Some(stats.verified_instructions).filter(|count| *count > 0);
            Finding { verified_instructions, ..Finding::good(&tiers(&planned.step), detail) }
        });
    let missing =
        kernel.gaps.iter().map(|gap| Finding::bad(gap.tier.as_str(), gap.reason.as_str(), gap.remedy));
    attached.chain(missing).collect()
}

/// The names of what a program is for.
fn tiers(step: &Step) -> String {
    step.tiers.iter().map(|tier| tier.as_str()).collect::<Vec<_>>().join("+")
}

fn json(report: &Report) -> String {
    // The report has string keys and finite numbers only; it cannot fail to serialise.
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

fn text(report: &Report, status: u8) -> String {
    let verdict = match status {
        ALL => "everything the daemon wants to see can be seen",
        SOME => "the daemon runs, but not everything can be seen",
        _ => "the daemon cannot run here",
    };
    let mut out = format!("Linux {}: {verdict}\n", report.kernel);
    for finding in &report.doctor {
        let mark = if finding.ok { "ok     " } else { "MISSING" };
        out += &format!("  {mark} {:<16} {}", finding.check, finding.detail);
        if let Some(count) = finding.verified_instructions {
            out += &format!(" ({count} instructions verified)");
        }
        if let Some(remedy) = &finding.remedy {
            out += &format!("\n          remedy: {remedy}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_shows_its_remedy_and_a_program_its_cost() {
        let program = Finding { verified_instructions: Some(43), ..Finding::good("bind", "sys_exit_bind") };
        let gap = Finding::bad("close", "no cgroup v2", "mount it");
        let report = Report { schema: 1, kernel: "6.18".to_owned(), doctor: vec![program, gap] };
        let shown = text(&report, SOME);
        assert!(shown.starts_with("Linux 6.18: the daemon runs, but"), "{shown}");
        assert!(shown.contains("sys_exit_bind (43 instructions verified)"), "{shown}");
        assert!(shown.contains("no cgroup v2\n          remedy: mount it"), "{shown}");
        assert!(json(&report).contains(r#""schema":1"#));
    }
}
