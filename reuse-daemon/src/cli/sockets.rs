//! Arguments of `sockets`.

use std::path::PathBuf;

use clap::Args;

use super::filters::SocketFilters;
use crate::export::local::protocol::DEFAULT_PATH;

/// Arguments of `sockets`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit status: 0 found, 1 none, 2 error\n\n\
    Flags: RA SO_REUSEADDR, RP SO_REUSEPORT, v6only IPV6_V6ONLY, %IF bound to a device. Queue of a listener: connections \
    not accepted yet and most that may wait; of UDP: bytes not read yet and size of the buffer.\n\n\
    Examples:\n  \
    sudo reuse-daemon sockets\n  \
    sudo reuse-daemon sockets --port 80 --port 443\n  \
    sudo reuse-daemon sockets --netns /run/netns/blue\n  \
    sudo reuse-daemon sockets --executable nginx --json | jq '.sockets[].owners'")]
pub struct SocketsArguments {
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,

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
