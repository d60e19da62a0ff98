//! Arguments of `conflicts`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    duration,
    filters::{RefusalFilters, SocketFilters},
};
use crate::export::local::protocol::DEFAULT_PATH;

/// Arguments of `conflicts`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit status: 0 found, 1 none, 2 error\n\n\
    The daemon keeps the latest 1,000 refusals, for an hour. Process, user, service and executable may be the \
    contender's or a holder's.\n\n\
    Examples:\n  \
    sudo reuse-daemon conflicts --since 10m\n  \
    sudo reuse-daemon conflicts --follow --port 80\n  \
    sudo reuse-daemon conflicts --rule holder_is_listening --json | jq '.conflicts[].remedy'")]
pub struct ConflictsArguments {
    /// Give each refusal as it happens, until interrupted
    #[arg(long)]
    pub follow: bool,

    /// Only refusals of so long ago at most, such as 90s, 10m or 1h30m; with --follow the earlier ones too
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub since: Option<Duration>,

    /// Print one JSON object, with --follow one a line, instead of text
    #[arg(long)]
    pub json: bool,

    /// Ask the daemon over this socket
    #[arg(long, env = "REUSE_SOCKET", value_name = "PATH", default_value = DEFAULT_PATH)]
    pub socket: PathBuf,

    /// Which of them, by what a socket has
    #[command(flatten)]
    pub filters: SocketFilters,

    /// Which of them, by what a refusal has
    #[command(flatten)]
    pub refusals: RefusalFilters,
}
