//! `sockets`: every bound socket, from the running daemon or by a look of its own.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use reuse_model::{
    filter::Filter,
    report::{SocketList, View},
};

use super::{
    outcome::{self, Outcome},
    survey::{self, Found},
};
use crate::{
    cli::SocketsArguments,
    export::local::{command_lines, protocol::Request},
    local_client::{self, AskError},
    owner::{command_lines::CommandLines, names::Names, shown::Shown},
    render,
};

/// What an answer without any socket is.
const NONE: &[u8] = br#"{"schema":1,"sockets":[]}"#;

/// Runs the command.
#[must_use]
pub fn main(arguments: &SocketsArguments) -> ExitCode {
    outcome::exit(run(arguments))
}

fn run(arguments: &SocketsArguments) -> anyhow::Result<Outcome> {
    let filter = arguments.filters.filter()?;
    let request = Request::Sockets { command_lines: arguments.json };
    let answer = match local_client::ask(&arguments.socket, &request) {
        Ok(answer) => answer,
        Err(AskError::NotRunning { .. }) => return show(look(arguments)?, &filter, arguments.json),
        Err(error) => return Err(error.into()),
    };
    if arguments.json && filter.is_empty() {
        // As it came: there may be tens of thousands.
        let mut out = io::stdout().lock();
        outcome::written(out.write_all(&answer).and_then(|()| out.write_all(b"\n")))?;
        return Ok(if answer == NONE { Outcome::None } else { Outcome::Found });
    }
    let list = serde_json::from_slice(&answer).context("the daemon's answer is of another version")?;
    show(list, &filter, arguments.json)
}

fn show(mut list: SocketList, filter: &Filter, json: bool) -> anyhow::Result<Outcome> {
    list.sockets.retain(|socket| filter.wants_socket(socket));
    let text = match json {
        true => serde_json::to_string(&list).context("cannot render the sockets")? + "\n",
        false if list.sockets.is_empty() => String::new(),
        false => render::sockets::table(&list.sockets),
    };
    outcome::written(io::stdout().lock().write_all(text.as_bytes()))?;
    if list.sockets.is_empty() {
        outcome::tell(
            "no bound socket of this kind; accepted and outgoing connections are not listed, `explain` names those in \
             the way",
        );
        return Ok(Outcome::None);
    }
    Ok(Outcome::Found)
}

/// Looks without a daemon: what it cannot know is when a socket was bound.
fn look(arguments: &SocketsArguments) -> anyhow::Result<SocketList> {
    let sight = "who has other users' sockets open";
    let Found { inventory, .. } = survey::look(&arguments.socket, arguments.btf_path.as_deref(), sight)?;
    let names = Names::of_this_host(View::Local);
    let shown = Shown { names: &names, view: View::Local };
    let mut list = SocketList::new(&inventory, &shown, View::Local);
    if arguments.json {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(command_lines::add(&mut list, &CommandLines::new("/proc")));
    }
    Ok(list)
}
