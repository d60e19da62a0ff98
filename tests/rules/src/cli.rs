//! What was typed.

use clap::{Parser, ValueEnum};
use reuse_model::endpoint::Transport;

/// Tries the rulebook of binds and listens against the running kernel: random sockets on one port, the answer of every
/// bind and listen predicted, and what the prediction rests on checked. Needs root. Exits with 0 if prediction and kernel
/// agree everywhere, with 1 if they do not, with 2 if it cannot run.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
pub(crate) struct Cli {
    /// How many scenarios; by default 10000, or with --seconds as many as there is time for.
    #[arg(long, value_name = "N")]
    pub(crate) scenarios: Option<u64>,
    /// Begin no scenario once that many seconds have gone by.
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Where to begin: scenario n has the seed S + n. By default another one each time.
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// One protocol alone.
    #[arg(long, value_enum)]
    pub(crate) protocol: Option<Table>,
    /// Go on after a disagreement.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Threads; by default one for each processor.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Tell every refused call on standard output, as JSON lines.
    #[arg(long)]
    pub(crate) refusals: bool,
}

/// A port table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// TCP, and MPTCP
    Tcp,
    /// UDP
    Udp,
}

impl From<Table> for Transport {
    fn from(table: Table) -> Self {
        match table {
            Table::Tcp => Self::Tcp,
            Table::Udp => Self::Udp,
        }
    }
}
