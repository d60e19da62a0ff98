//! `groups --experiment`: which flows move when a member joins or leaves, tried by the daemon on groups of its own.

use std::io::{self, Write as _};

use anyhow::Context as _;
use reuse_model::report::ExperimentList;

use crate::{
    cli::GroupsArguments,
    commands::outcome::{self, Outcome},
    export::local::protocol::Request,
    local_client,
    render::groups::{Style, experiment},
};

/// Asks for it and shows what came of it.
///
/// # Errors
/// No daemon answers, or it has no test group.
pub(super) fn run(arguments: &GroupsArguments, style: Style) -> anyhow::Result<Outcome> {
    let answer = local_client::ask_patiently(&arguments.socket, &Request::Experiment {})?;
    let list: ExperimentList =
        serde_json::from_slice(&answer).context("the daemon's answer is of another version")?;
    let text = match arguments.json {
        true => String::from_utf8(answer).context("the daemon's answer is no text")? + "\n",
        false => experiment::text(&list.experiments, style),
    };
    outcome::written(io::stdout().lock().write_all(text.as_bytes()))?;
    let steps = || list.experiments.iter().flat_map(|experiment| &experiment.steps);
    let as_foreseen = steps().all(|step| step.contradicted == 0) && steps().any(|step| step.tried > 0);
    Ok(if as_foreseen { Outcome::Found } else { Outcome::None })
}
