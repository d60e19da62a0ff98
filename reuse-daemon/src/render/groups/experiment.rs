//! `groups --experiment`: what became of the same flows at each change of a group's members.

use reuse_model::report::{ExperimentReport, StepReport};

use super::{
    BOLD, Style,
    numbers::{grouped, percent},
    painted,
};
use crate::render::{
    table::{Align, Table},
    width,
};

/// A table for each of the daemon's groups, and what follows from them all.
#[must_use]
pub fn text(experiments: &[ExperimentReport], style: Style) -> String {
    let mut out = String::new();
    for experiment in experiments {
        let name = format!("{} over {}", experiment.protocol.as_str(), experiment.family.as_str());
        out.extend([&painted(&name, BOLD, style), "\n"]);
        let mut table = Table::new(&[
            ("  CHANGE", Align::Left),
            ("MEMBERS", Align::Left),
            ("FLOWS", Align::Right),
            ("MOVED", Align::Right),
            ("SHARE", Align::Right),
            ("EXPECTED", Align::Right),
            ("BY HASH", Align::Right),
            ("OTHERWISE", Align::Right),
        ]);
        for step in &experiment.steps {
            table.row(row(step));
        }
        out.push_str(&table.text());
        out.push('\n');
    }
    width::wrap(&verdict(experiments), style.width, 0, 0, &mut out);
    out.push('\n');
    out
}

fn row(step: &StepReport) -> Vec<String> {
    let change = match (step.cause.as_deref(), step.place) {
        (Some(cause), Some(place)) => format!("  {cause} at place {place}"),
        (Some(cause), None) => format!("  {cause}"),
        (None, _) => "  none, probed again".to_owned(),
    };
    let members = match step.before == step.after {
        true => step.before.to_string(),
        false => format!("{} to {}", step.before, step.after),
    };
    let share = if step.tried > 0 { percent(step.moved as f64 / step.tried as f64) } else { "-".to_owned() };
    vec![
        change,
        members,
        grouped(step.tried),
        grouped(step.moved),
        share,
        percent(step.expected_share),
        grouped(step.predicted),
        grouped(step.contradicted),
    ]
}

fn verdict(experiments: &[ExperimentReport]) -> String {
    let steps = || experiments.iter().flat_map(|experiment| &experiment.steps);
    let tried: u64 = steps().map(|step| step.tried).sum();
    let contradicted: u64 = steps().map(|step| step.contradicted).sum();
    match (tried, contradicted) {
        (0, _) => "No flow could be tried.".to_owned(),
        (_, 0) => {
            format!("Every flow ({} tries) went from and to where the kernel's hash says.", grouped(tried))
        }
        _ => format!(
            "{} of {} tries went elsewhere than the kernel's hash says, or their hash is not known.",
            grouped(contradicted),
            grouped(tried)
        ),
    }
}
