//! `groups`: every SO_REUSEPORT group with its members and what the kernel selected, once or again and again.

mod alone;
mod ask;
mod experiment;
mod terminal;
mod watch;

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use reuse_model::report::GroupList;

use super::outcome::{self, Outcome};
use crate::{
    cli::{Color, GroupsArguments},
    local_client::AskError,
    render::{
        bars::Glyphs,
        groups::{self, Style},
    },
};
use ask::Asker;

/// Columns where there is no terminal and COLUMNS says nothing.
const WIDTH: usize = 80;

/// Runs the command.
#[must_use]
pub fn main(arguments: &GroupsArguments, color: Color) -> ExitCode {
    let no_color = std::env::var_os("NO_COLOR");
    let style = Style {
        width: terminal::width().unwrap_or(WIDTH),
        colored: color.applies(io::stdout().is_terminal(), no_color.as_deref()),
        glyphs: Glyphs::of_locale(|name| std::env::var(name).ok()),
        all: arguments.all,
    };
    outcome::exit(run(arguments, style))
}

fn run(arguments: &GroupsArguments, style: Style) -> anyhow::Result<Outcome> {
    if arguments.experiment {
        return experiment::run(arguments, style);
    }
    let asker = Asker::new(arguments)?;
    if arguments.watch {
        return watch::run(asker, style);
    }
    match asker.look() {
        Ok(seen) => {
            let text = seen.text(None, arguments.json, style)?;
            outcome::written(io::stdout().lock().write_all(text.as_bytes()))?;
            Ok(judged(&seen.groups))
        }
        Err(error) if matches!(error.downcast_ref(), Some(AskError::NotRunning { .. })) => {
            let mut list = alone::look(arguments)?;
            asker.retain(&mut list);
            let text = match arguments.json {
                true => serde_json::to_string(&list).context("cannot render the groups")? + "\n",
                false => groups::screen(&list.groups, None, None, style),
            };
            outcome::written(io::stdout().lock().write_all(text.as_bytes()))?;
            outcome::tell(format_args!(
                "members only: selections are counted by the daemon, and none answers at {}; start it with `sudo \
                 reuse-daemon run`",
                arguments.socket.display()
            ));
            Ok(judged(&list))
        }
        Err(error) => Err(error),
    }
}

/// What was found; where that is nothing it is said.
fn judged(list: &GroupList) -> Outcome {
    if list.groups.is_empty() {
        outcome::tell("no SO_REUSEPORT group of this kind; the daemon's own are not listed");
        return Outcome::None;
    }
    Outcome::Found
}
