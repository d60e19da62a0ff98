//! `signals`: the active signals and the latest that ended, or each as it begins and ends, from the running daemon.

use std::{
    cell::LazyCell,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use reuse_model::{
    history::LATEST_MAX,
    report::{SignalList, SignalRecord},
};

use super::{
    follow::follow,
    outcome::{self, Outcome},
};
use crate::{
    cli::{Color, SignalsArguments},
    export::local::protocol::{Latest, Request},
    local_client,
    policy::suggestion,
    render,
};

/// Runs the command.
#[must_use]
pub fn main(arguments: &SignalsArguments, color: Color) -> ExitCode {
    let no_color = std::env::var_os("NO_COLOR");
    let colored = color.applies(io::stdout().is_terminal(), no_color.as_deref());
    // Found out when there is a time to show: all zones of the host are listed for it.
    let zone = LazyCell::new(TimeZone::system);
    outcome::exit(run(arguments, &|record| {
        let mut text = String::new();
        render::signals::signal(record, &zone, colored, &mut text);
        text
    }))
}

fn run(arguments: &SignalsArguments, text: &dyn Fn(&SignalRecord) -> String) -> anyhow::Result<Outcome> {
    let filter = arguments.signals.add_to(arguments.filters.filter()?);
    let wanted = |record: &SignalRecord| filter.wants_signal(&record.event);
    let request =
        Request::Signals(Latest::new(arguments.since, arguments.follow, filter.clone(), arguments.json));
    if arguments.follow {
        let lines = local_client::follow(&arguments.socket, &request)?;
        return follow(lines, "signals", wanted, (!arguments.json).then_some(text));
    }
    let answer = local_client::ask(&arguments.socket, &request)?;
    let mut list: SignalList<Vec<SignalRecord>> =
        serde_json::from_slice(&answer).context("the daemon's answer is of another version")?;
    list.signals.retain(wanted);
    if arguments.suggest_policy {
        list.signals.retain(|record| record.event.until.is_none());
    }
    let shown = if arguments.suggest_policy {
        suggestion::policy(list.signals.iter().map(|record| &record.event))
    } else if arguments.json {
        serde_json::to_string(&list).context("cannot render the signals")? + "\n"
    } else {
        list.signals.iter().map(text).collect()
    };
    outcome::written(io::stdout().lock().write_all(shown.as_bytes()))?;
    if list.signals.is_empty() {
        outcome::tell("no signal of this kind is known");
        if list.dropped > 0 && !arguments.suggest_policy {
            outcome::tell(format_args!(
                "{} older ones that ended are not kept any more, {LATEST_MAX} at most are",
                list.dropped
            ));
        }
        return Ok(Outcome::None);
    }
    Ok(Outcome::Found)
}
