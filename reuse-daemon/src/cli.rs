//! The command line as typed: clap structs, one per command, with no meaning attached yet.
//!
//! [`crate::config`] gives it meaning. Usage errors leave with exit status 2, which is clap's own.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{ColorChoice, Parser, Subcommand, ValueEnum};

pub mod check;
pub mod conflicts;
pub mod doctor;
mod duration;
pub mod explain;
mod file;
pub mod filters;
pub mod groups;
pub mod run;
pub mod signals;
pub mod sockets;
mod user;

pub use check::CheckArguments;
pub use conflicts::ConflictsArguments;
pub use doctor::DoctorArguments;
pub use explain::ExplainArguments;
pub use groups::GroupsArguments;
pub use run::RunArguments;
pub use signals::SignalsArguments;
pub use sockets::SocketsArguments;

/// Names who holds a port and why, and shows how the kernel spreads SO_REUSEPORT traffic.
#[derive(Clone, Debug, Parser)]
#[command(name = "reuse-daemon", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  \
    sudo reuse-daemon explain 8080  would a bind to port 8080 succeed, and if not why\n  \
    reuse-daemon doctor             what this kernel and these privileges allow\n  \
    sudo reuse-daemon run           trace, and serve http://127.0.0.1:10542/metrics\n  \
    sudo reuse-daemon sockets       every bound socket and who has it open\n  \
    sudo reuse-daemon groups        how evenly SO_REUSEPORT groups are fed\n  \
    sudo reuse-daemon conflicts     which binds were refused lately, and why\n  \
    sudo reuse-daemon signals       who shares, shadows or takes a port without any error\n  \
    sudo reuse-daemon check         what SO_REUSEADDR and SO_REUSEPORT do on this kernel\n  \
    reuse-daemon help run           every flag of the daemon")]
pub struct Arguments {
    /// When to colour what people read
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What the program is asked to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Trace bind, listen and SO_REUSEPORT selection on this host and serve what was found
    Run(Box<RunArguments>),
    /// Say whether a bind (and listen) would succeed now, and if not why
    Explain(Box<ExplainArguments>),
    /// List every bound socket, its flags, state, queue and owners
    Sockets(SocketsArguments),
    /// Show every SO_REUSEPORT group: its members, what share of the traffic each got, and whether that is even
    Groups(GroupsArguments),
    /// Say which binds were refused lately, by whom and why; from the running daemon
    Conflicts(ConflictsArguments),
    /// Say who shares, shadows or takes a port without any error being raised; from the running daemon
    Signals(Box<SignalsArguments>),
    /// Try every claim about SO_REUSEADDR and SO_REUSEPORT on this kernel
    Check(CheckArguments),
    /// Say what this kernel and these privileges allow, and what to do about each gap
    Doctor(DoctorArguments),
}

/// When to colour output; `auto` also honours `NO_COLOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set and not empty
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether to colour what goes to a stream that is (or is not) a terminal.
    ///
    /// `no_color` is the value of the environment variable of that name, which counts when it is not empty
    /// (<https://no-color.org>).
    #[must_use]
    pub fn applies(self, is_terminal: bool, no_color: Option<&std::ffi::OsStr>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && no_color.is_none_or(std::ffi::OsStr::is_empty),
        }
    }
}

impl Arguments {
    /// Reads the process's own command line and environment, and the file of flags that they name.
    ///
    /// `--help`, `--version` and usage errors print and exit here: 0 for the first two, 2 for the last.
    #[must_use]
    pub fn from_process() -> Self {
        file::complete(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
    }
}

/// The flags of the process's own command, by name, each with its values, wherever they come from: command line,
/// environment, and the file of flags as it is now.
///
/// # Errors
/// What is wrong with the file, as a sentence.
pub fn flags_of_process() -> Result<BTreeMap<String, Vec<OsString>>, String> {
    file::flags(std::env::args_os().collect()).map_err(|error| {
        let text = error.to_string();
        let sentence = text.split("\n\n").next().unwrap_or(&text);
        sentence.strip_prefix("error: ").unwrap_or(sentence).trim_end().to_owned()
    })
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    #[test]
    fn definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn usage_errors_exit_with_status_2() {
        for wrong in [&["reuse-daemon"][..], &["reuse-daemon", "fly"], &["reuse-daemon", "run", "--nope"]] {
            let error = Arguments::try_parse_from(wrong).expect_err("must be refused");
            assert_eq!(error.exit_code(), 2, "{wrong:?}: {error}");
        }
    }

    #[test]
    fn help_of_every_command_shows_examples() {
        for command in ["run", "explain", "sockets", "groups", "conflicts", "signals", "check", "doctor"] {
            let error = Arguments::try_parse_from(["reuse-daemon", command, "--help"])
                .expect_err("help is an early exit");
            assert_eq!(error.kind(), ErrorKind::DisplayHelp);
            assert!(error.to_string().contains("Examples:"), "{command}");
        }
    }

    #[test]
    fn no_color_counts_only_when_not_empty_and_only_for_auto() {
        assert!(Color::Auto.applies(true, None));
        assert!(Color::Auto.applies(true, Some(OsStr::new(""))));
        assert!(!Color::Auto.applies(true, Some(OsStr::new("1"))));
        assert!(!Color::Auto.applies(false, None));
        assert!(Color::Always.applies(false, Some(OsStr::new("1"))));
        assert!(!Color::Never.applies(true, None));
    }
}
