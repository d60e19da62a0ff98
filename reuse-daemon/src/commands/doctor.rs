//! `doctor`: what these privileges and this kernel allow, by loading and attaching everything once, and what mends each
//! gap.

use std::{io::Write as _, process::ExitCode};

use serde::Serialize;

use crate::{
    cli::DoctorArguments,
    kernel::{
        attach::{self, Kernel, Options, Stage},
        capabilities::{Capabilities, Lockdown},
        plan::{Gap, Tier, Wanted},
        privileges,
        snapshot::Pending,
    },
};
use ephemeral::Listener;

mod ephemeral;
mod text;

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
    lockdown: &'static str,
    /// The file that the kernel's types were read from; `null` if it did not come so far
    btf: Option<String>,
    doctor: Vec<Finding>,
    /// What this kernel lacks, or was to be done without; not all of it is needed
    lacks: Vec<Lacking>,
    /// Listeners whose port the kernel may give away while they are down; `null` if it did not come so far
    listeners_in_ephemeral_range: Option<Vec<Listener>>,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    ok: bool,
    state: State,
    /// How a tier is seen
    #[serde(skip_serializing_if = "Option::is_none")]
    mechanism: Option<&'static str>,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_instructions: Option<u64>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As it should be
    Active,
    /// Could be had, and is not asked for
    Off,
    /// Not to be had
    Missing,
}

/// One capability of the kernel that is not there.
#[derive(Debug, Serialize)]
struct Lacking {
    capability: &'static str,
    why: String,
}

impl Finding {
    fn good(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            ok: true,
            state: State::Active,
            mechanism: None,
            detail: detail.into(),
            remedy: None,
            verified_instructions: None,
        }
    }

    fn bad(check: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { ok: false, state: State::Missing, remedy: Some(remedy.into()), ..Self::good(check, detail) }
    }

    fn off(gap: &Gap) -> Self {
        let (tier, reason) = (gap.tier.as_str(), gap.reason.as_str());
        Self { ok: true, state: State::Off, ..Self::bad(tier, reason, gap.remedy) }
    }
}

/// Runs the command.
#[must_use]
pub fn main(arguments: &DoctorArguments) -> ExitCode {
    let (report, status) = examine(arguments);
    let text = if arguments.json { json(&report) } else { text::render(&report, status) };
    // A closed stdout leaves nobody to tell.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(status)
}

fn examine(arguments: &DoctorArguments) -> (Report, u8) {
    let mut findings = vec![look_at_privileges()];
    if findings.iter().any(|finding| !finding.ok) {
        return (report(findings, None), NONE);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            findings.push(Finding::bad("runtime", error.to_string(), "raise the limit of open files"));
            return (report(findings, None), NONE);
        }
    };
    let _within = runtime.enter();
    let options = Options {
        btf: arguments.btf_path.as_deref(),
        wanted: Wanted::default(),
        avoid: &arguments.trace_avoid,
        log_level: 0,
    };
    match attach::start(&options) {
        Ok((mut kernel, _maps)) => {
            findings.push(look_at_types(&kernel.have));
            findings.extend(look_at_tiers(&kernel));
            let all = findings.iter().all(|finding| finding.ok);
            // Advice on the host: it says nothing of what the daemon sees, so that the status is the same.
            let snapshot = kernel.snapshot().and_then(Pending::read).ok();
            let listeners_in_ephemeral_range = snapshot.as_ref().map(ephemeral::look);
            let report = Report { listeners_in_ephemeral_range, ..report(findings, Some(&kernel.have)) };
            (report, if all { ALL } else { SOME })
        }
        Err(error) => {
            let (found, remedy) = error.in_parts();
            findings.push(Finding::bad("programs", found, remedy));
            (report(findings, None), NONE)
        }
    }
}

fn report(doctor: Vec<Finding>, have: Option<&Capabilities>) -> Report {
    let release = || {
        let name = nix::sys::utsname::uname();
        name.map_or_else(|_| "unknown".to_owned(), |name| name.release().to_string_lossy().into_owned())
    };
    let lacks = have.into_iter().flat_map(Capabilities::lacks);
    Report {
        schema: 1,
        kernel: have.map_or_else(release, |have| have.release.clone()),
        lockdown: have.map_or_else(Lockdown::of_running_kernel, |have| have.lockdown).as_str(),
        btf: have.map(|have| have.types.display().to_string()),
        doctor,
        lacks: lacks
            .map(|(capability, lack)| Lacking { capability: capability.as_str(), why: lack.why.clone() })
            .collect(),
        listeners_in_ephemeral_range: None,
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

/// Whether the hooks and members are those that the programs were written for.
fn look_at_types(have: &Capabilities) -> Finding {
    if have.deviations.is_empty() {
        let file = have.types.display();
        return Finding::good("types", format!("every hook and member is as declared ({file})"));
    }
    Finding::bad("types", have.deviations.join("; "), "please report it, with the kernel's release")
}

/// Of each tier every program that serves it, and what is missing or off.
fn look_at_tiers(kernel: &Kernel) -> Vec<Finding> {
    let stats: Vec<_> = kernel.stats().collect();
    let of_tier = |tier: Tier| {
        let programs = stats
            .iter()
            .filter(move |(planned, _)| planned.step.serves(tier) && planned.stage != Stage::Refused);
        let attached = programs.map(move |(planned, stats)| {
            let detail = format!("{} at {}", planned.step.program, planned.step.hook.label());
            Finding {
                mechanism: Some(planned.step.hook.mechanism()),
                verified_instructions: Some(stats.verified_instructions).filter(|count| *count > 0),
                ..Finding::good(tier.as_str(), detail)
            }
        });
        let missing = kernel.gaps.iter().filter(move |gap| gap.tier == tier);
        let missing = missing.map(|gap| Finding::bad(gap.tier.as_str(), gap.reason.as_str(), gap.remedy));
        let off = kernel.off.iter().filter(move |gap| gap.tier == tier).map(Finding::off);
        attached.chain(missing).chain(off)
    };
    Tier::ALL.into_iter().flat_map(of_tier).collect()
}

fn json(report: &Report) -> String {
    // The report has string keys and finite numbers only; it cannot fail to serialise.
    serde_json::to_string(report).unwrap_or_default() + "\n"
}
