//! Arguments of `explain`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "reuse-daemon explain [OPTIONS] [tcp|udp] <PORT|[ADDRESS]:PORT|HOST:PORT>",
    after_help = "Exit status: 0 all would succeed, 1 one would be refused, 2 cannot tell, or a usage error\n\n\
    Examples:\n  \
    sudo reuse-daemon explain 8080                        TCP and UDP, IPv4 and IPv6\n  \
    sudo reuse-daemon explain tcp 127.0.0.1:8080 --listen bind and listen\n  \
    sudo reuse-daemon explain tcp [::]:443 --reuseport --uid 33\n  \
    sudo reuse-daemon explain udp 53 --netns /run/netns/blue\n  \
    sudo reuse-daemon explain tcp 8080 --wait && exec my-server"
)]
pub struct ExplainArguments {
    /// `PORT`, `[ADDRESS]:PORT` or `HOST:PORT`, behind `tcp` or `udp` to ask for one alone; also `tcp://HOST:PORT` and
    /// `PORT/tcp`
    #[arg(required = true, num_args = 1.., value_name = "QUESTION")]
    pub question: Vec<String>,

    /// With SO_REUSEADDR set on the socket
    #[arg(long)]
    pub reuseaddr: bool,

    /// With SO_REUSEPORT set on the socket
    #[arg(long)]
    pub reuseport: bool,

    /// With IPV6_V6ONLY set on the socket (IPv6)
    #[arg(long)]
    pub v6only: bool,

    /// With the socket bound to this interface (SO_BINDTODEVICE)
    #[arg(long, value_name = "INTERFACE")]
    pub device: Option<String>,

    /// For a socket of this user; any but 0 is without CAP_NET_BIND_SERVICE
    #[arg(long, value_name = "UID|NAME", value_parser = super::user::parse)]
    pub uid: Option<u32>,

    /// Also whether listen() would succeed after the bind (TCP)
    #[arg(long)]
    pub listen: bool,

    /// In the network namespace of this process, or of this file (such as /run/netns/NAME)
    #[arg(long, value_name = "PID|PATH")]
    pub netns: Option<String>,

    /// With the user, capabilities and network namespace of this process
    #[arg(long = "as", value_name = "PID", conflicts_with = "uid")]
    pub as_process: Option<u32>,

    /// Return once all would succeed
    #[arg(long, conflicts_with = "raw")]
    pub wait: bool,

    /// Longest wait, such as 500ms, 60s or 5m
    #[arg(long, value_name = "TIME", value_parser = super::duration::parse, default_value = "60s", requires = "wait")]
    pub timeout: Duration,

    /// Print the port as it was read instead of the answer
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,

    /// Read kernel types from this file instead of /sys/kernel/btf/vmlinux
    #[arg(long = "btf.path", env = "REUSE_BTF_PATH", value_name = "FILE")]
    pub btf_path: Option<PathBuf>,
}

impl ExplainArguments {
    /// Whether an option of the socket was given.
    #[must_use]
    pub fn sets_option(&self) -> bool {
        self.reuseaddr || self.reuseport || self.v6only || self.device.is_some()
    }
}
