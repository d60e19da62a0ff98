//! Arguments of `groups`.

use std::path::PathBuf;

use clap::Args;

use super::filters::SocketFilters;
use crate::export::local::protocol::DEFAULT_PATH;

/// Arguments of `groups`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit status: 0 found, 1 none, 2 error; of --experiment: 0 every flow went as the kernel's hash says, 1 one \
    did not, 2 error\n\n\
    A bar is a member's share of the selections, the mark in it an even share. RATE and NOW are of the time since the last \
    look. Queue of a listener: connections not accepted yet and most that may wait; of UDP: bytes not read yet and size of \
    the buffer. Numbers after # are slots: a member keeps its slot, and the next one takes it over.\n\n\
    Examples:\n  \
    sudo reuse-daemon groups\n  \
    sudo reuse-daemon groups --watch --port 443\n  \
    sudo reuse-daemon groups --json | jq '.groups[] | {port, verdict, p_value}'\n  \
    sudo reuse-daemon groups --experiment"
)]
pub struct GroupsArguments {
    /// Look again each second, with rates; q or an interrupt ends it
    #[arg(long)]
    pub watch: bool,

    /// Let the daemon add members to groups of its own and remove some, and count the flows that move; takes some seconds
    #[arg(long, conflicts_with = "watch")]
    pub experiment: bool,

    /// Print one JSON object, with --watch one a line, instead of text
    #[arg(long)]
    pub json: bool,

    /// Give every member of a large group its line
    #[arg(long)]
    pub all: bool,

    /// Ask the daemon over this socket; where none answers, look without one
    #[arg(long, env = "REUSE_SOCKET", value_name = "PATH", default_value = DEFAULT_PATH)]
    pub socket: PathBuf,

    /// Without a daemon: read kernel types from this file instead of /sys/kernel/btf/vmlinux
    #[arg(long = "btf.path", env = "REUSE_BTF_PATH", value_name = "FILE")]
    pub btf_path: Option<PathBuf>,

    /// Which of them
    #[command(flatten)]
    pub filters: SocketFilters,
}
