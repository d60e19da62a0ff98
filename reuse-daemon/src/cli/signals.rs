//! Arguments of `signals`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    duration,
    filters::{SignalFilters, SocketFilters},
};
use crate::export::local::protocol::DEFAULT_PATH;

/// Arguments of `signals`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit status: 0 found, 1 none, 2 error\n\n\
    Active signals are always among them; the daemon keeps the latest 1,000 that ended, for an hour. Address, process, \
    user, service and executable may be any party's.\n\n\
    Examples:\n  \
    sudo reuse-daemon signals\n  \
    sudo reuse-daemon signals --severity warning --since 10m\n  \
    sudo reuse-daemon signals --follow --port 53\n  \
    sudo reuse-daemon signals --json | jq '.signals[] | select(.until == null).seen'\n  \
    sudo reuse-daemon signals --suggest-policy >> /etc/reuse-daemon.toml")]
pub struct SignalsArguments {
    /// Give each signal as it begins and as it ends, until interrupted
    #[arg(long)]
    pub follow: bool,

    /// Only signals that lasted so long ago, such as 90s, 10m or 1h30m: active, or ended since; with --follow these first
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub since: Option<Duration>,

    /// Print a policy for the configuration file that expects what is active now; look at each before you use it
    #[arg(long, conflicts_with_all = ["follow", "since", "json"])]
    pub suggest_policy: bool,

    /// Print one JSON object, with --follow one a line, instead of text
    #[arg(long)]
    pub json: bool,

    /// Ask the daemon over this socket
    #[arg(long, env = "REUSE_SOCKET", value_name = "PATH", default_value = DEFAULT_PATH)]
    pub socket: PathBuf,

    /// Which of them, by what a socket has
    #[command(flatten)]
    pub filters: SocketFilters,

    /// Which of them, by what a signal has
    #[command(flatten)]
    pub signals: SignalFilters,
}
