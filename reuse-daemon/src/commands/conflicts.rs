//! `conflicts`: the latest refusals, or each as it happens, from the running daemon.

use std::{
    cell::LazyCell,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use reuse_model::{
    history::LATEST_MAX,
    report::{ConflictList, ConflictRecord},
};

use super::{
    follow::follow,
    outcome::{self, Outcome},
};
use crate::{
    cli::{Color, ConflictsArguments},
    export::local::protocol::{Latest, Request},
    local_client, render,
};

/// Runs the command.
#[must_use]
pub fn main(arguments: &ConflictsArguments, color: Color) -> ExitCode {
    let no_color = std::env::var_os("NO_COLOR");
    let colored = color.applies(io::stdout().is_terminal(), no_color.as_deref());
    let text = Text { zone: LazyCell::new(TimeZone::system), colored };
    outcome::exit(run(arguments, &text))
}

fn run(arguments: &ConflictsArguments, text: &Text) -> anyhow::Result<Outcome> {
    let filter = arguments.refusals.add_to(arguments.filters.filter()?);
    let wanted = |record: &ConflictRecord| filter.wants_conflict(&record.event);
    let request =
        Request::Conflicts(Latest::new(arguments.since, arguments.follow, filter.clone(), arguments.json));
    if arguments.follow {
        let lines = local_client::follow(&arguments.socket, &request)?;
        let told = |record: &ConflictRecord| text.refusal(record);
        return follow(lines, "refusals", wanted, (!arguments.json).then_some(&told));
    }
    let answer = local_client::ask(&arguments.socket, &request)?;
    let mut list: ConflictList<ConflictRecord> =
        serde_json::from_slice(&answer).context("the daemon's answer is of another version")?;
    list.conflicts.retain(wanted);
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

/// How refusals are told to people.
struct Text {
    /// Found out when there is a time to show: all zones of the host are listed for it
    zone: LazyCell<TimeZone>,
    colored: bool,
}

impl Text {
    fn refusal(&self, record: &ConflictRecord) -> String {
        let mut text = String::new();
        render::conflicts::refusal(record, &self.zone, self.colored, &mut text);
        text
    }
}
