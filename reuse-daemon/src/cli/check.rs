//! Arguments of `check`.

use clap::Args;
use reuse_model::claim::Claim;

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Everything happens in a network namespace of its own, which goes with the command.\n\n\
    Exit status: 0 this kernel behaves as documented, 1 it does not, 2 a claim asked for could not be tried\n\n\
    Examples:\n  \
    sudo reuse-daemon check\n  \
    sudo reuse-daemon check --claim reuseport_sticky_after_join\n  \
    sudo reuse-daemon check --claim reuseport_even_distribution --compare\n  \
    sudo reuse-daemon check --slow --json | jq '.claims[] | select(.expected_for_kernel | not)'"
)]
pub struct CheckArguments {
    /// Try this claim only (repeatable); all are in docs/claims.md, and what `check` prints
    #[arg(long = "claim", value_name = "ID", value_parser = str::parse::<Claim>)]
    pub claims: Vec<Claim>,

    /// Also try what takes a minute or tens of thousands of sockets
    #[arg(long)]
    pub slow: bool,

    /// Also count the connections that workers accept, by how they wait for them (five seconds)
    #[arg(long)]
    pub compare: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,

    /// Print the number of the namespace first, and begin once there is a line on standard input: for the daemon, which
    /// leaves what happens there out of what it tells
    #[arg(long, hide = true)]
    pub supervised: bool,
}
