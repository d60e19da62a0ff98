//! `conflicts`: the latest refusals, or each as it happens, from the running daemon.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use reuse_model::{
    filter::Filter,
    history::LATEST_MAX,
    report::{ConflictList, ConflictRecord, LostEvent},
};
use serde::Deserialize;

use super::outcome::{self, Outcome};
use crate::{
    cli::{Color, ConflictsArguments},
    export::local::protocol::Request,
    local_client, render,
};

/// Runs the command.
#[must_use]
pub fn main(arguments: &ConflictsArguments, color: Color) -> ExitCode {
    let no_color = std::env::var_os("NO_COLOR");
    let colored = color.applies(io::stdout().is_terminal(), no_color.as_deref());
    let text = Text { zone: TimeZone::system(), colored };
    outcome::exit(run(arguments, &text))
}

fn run(arguments: &ConflictsArguments, text: &Text) -> anyhow::Result<Outcome> {
    let filter = arguments.refusals.add_to(arguments.filters.filter()?);
    let request = Request::Conflicts {
        within_ms: arguments.since.map(milliseconds),
        follow: arguments.follow,
        filter: Box::new(filter.clone()),
        command_lines: arguments.json,
    };
    if arguments.follow {
        let lines = local_client::follow(&arguments.socket, &request)?;
        return follow(lines, &filter, (!arguments.json).then_some(text));
    }
    let answer = local_client::ask(&arguments.socket, &request)?;
    let mut list: ConflictList<ConflictRecord> =
        serde_json::from_slice(&answer).context("the daemon's answer is of another version")?;
    list.conflicts.retain(|record| filter.wants_conflict(&record.event));
    let shown = match arguments.json {
        true => serde_json::to_string(&list).context("cannot render the refusals")? + "\n",
        false => list.conflicts.iter().map(|record| text.refusal(record)).collect(),
    };
    outcome::written(io::stdout().lock().write_all(shown.as_bytes()))?;
    if list.conflicts.is_empty() {
        outcome::tell("no refused bind or listen of this kind is known");
        if list.dropped > 0 {
            outcome::tell(format_args!(
                "{} older refusals are not kept any more, {LATEST_MAX} at most are",
                list.dropped
            ));
        }
        return Ok(Outcome::None);
    }
    Ok(Outcome::Found)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How refusals are told to people.
struct Text {
    zone: TimeZone,
    colored: bool,
}

impl Text {
    fn refusal(&self, record: &ConflictRecord) -> String {
        let mut text = String::new();
        render::conflicts::refusal(record, &self.zone, self.colored, &mut text);
        text
    }
}

/// One line of those who follow.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Followed {
    /// Some were lost on the way here
    Lost(LostEvent),
    /// A refusal, or what a later version tells
    #[serde(other)]
    Other,
}

/// Gives each refusal as it comes, until nobody reads any more or the daemon stops, which is an error. `text`: how,
/// where not as JSON.
fn follow(mut lines: local_client::Lines, filter: &Filter, text: Option<&Text>) -> anyhow::Result<Outcome> {
    outcome::tell("following; interrupt to end");
    loop {
        let line = lines.next()?;
        let kind = serde_json::from_slice(&line).context("the daemon's answer is of another version")?;
        let shown = match kind {
            Followed::Lost(LostEvent { lost, .. }) => {
                outcome::tell(format_args!("refusals came faster than they were read: {lost} are not shown"));
                text.is_none().then(|| line.clone())
            }
            Followed::Other => {
                let record: ConflictRecord =
                    serde_json::from_slice(&line).context("the daemon's answer is of another version")?;
                let wanted = filter.wants_conflict(&record.event);
                wanted.then(|| text.map_or_else(|| line.clone(), |text| text.refusal(&record).into_bytes()))
            }
        };
        let Some(mut shown) = shown else { continue };
        if shown.last() != Some(&b'\n') {
            shown.push(b'\n');
        }
        if !outcome::written(write_now(&shown))? {
            return Ok(Outcome::Found);
        }
    }
}

fn write_now(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
