//! The validated configuration: what the command line means, or a sentence on why it means nothing.
//!
//! Pure: no file is opened and no name is looked up, so that `--config.check` needs no privilege.

use std::path::PathBuf;

use crate::{
    cli::{
        RunArguments,
        run::{CommandLines, Events, LogFormat, LogLevel, Repeats},
    },
    kernel::capabilities::Capability,
};

mod listen;
mod telemetry_path;

pub use listen::{ListenAddress, ListenError};
pub use telemetry_path::{TelemetryPath, TelemetryPathError};

/// Most members of the test group for one protocol and family: enough to see a distribution, few enough that the
/// sockets of all four groups stay below a quarter of the usual limit of 1,024 descriptors.
const MAX_MEMBERS: u16 = 64;
/// Most probes a second: above it the control experiment becomes a load test.
const MAX_PROBES_PER_SECOND: u32 = 1_000;
/// Fewest series to allow: the families with known label sets alone need several hundred.
const MIN_SERIES: usize = 1_000;

/// Everything `run` was asked for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// HTTP
    pub web: Web,
    /// Path of the local socket
    pub socket: PathBuf,
    /// Events on stdout; `None`: off
    pub events: Option<EventOutput>,
    /// Log on stderr
    pub log: Log,
    /// The test listener group; `None`: off
    pub test_group: Option<TestGroup>,
    /// Try the claims about socket options
    pub check: bool,
    /// Most series served, all families together
    pub max_series: usize,
    /// Where to read kernel types, `None`: the running kernel's own
    pub btf_path: Option<PathBuf>,
    /// Trace system calls
    pub trace_syscalls: bool,
    /// Whether sends and connects of datagram sockets that found no port are seen
    pub trace_sendto: bool,
    /// What of the kernel to do without
    pub trace_avoid: Vec<Capability>,
    /// Refuse to start when any tier is missing
    pub strict: bool,
}

/// What HTTP is served where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Addresses to listen on; at least one, no two of which exclude each other
    pub listen: Vec<ListenAddress>,
    /// Path of the metrics
    pub telemetry_path: TelemetryPath,
}

/// How events are written to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventOutput {
    /// JSON lines or text
    pub format: EventFormat,
    /// What to do with refusals that repeat
    pub repeats: Repeats,
    /// Whether records carry command lines
    pub command_lines: CommandLines,
}

/// Form of an event on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFormat {
    /// One JSON object a line
    Json,
    /// One sentence a line
    Text,
}

/// How the log is written to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Least severe message written
    pub level: LogLevel,
    /// Form
    pub format: LogFormat,
}

/// The test listener group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestGroup {
    /// Members for each protocol and family, 1 to 64
    pub members: u16,
    /// Port on loopback; `None`: the kernel chooses
    pub port: Option<std::num::NonZeroU16>,
    /// Probes a second, all protocols and families together, 1 to 1,000
    pub probes_per_second: u32,
}

/// Why the arguments mean nothing; each says what to give instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A listen address
    #[error("--web.listen-address: {0}")]
    Listen(#[from] ListenError),
    /// The path of the metrics
    #[error("--web.telemetry-path: {0}")]
    TelemetryPath(#[from] TelemetryPathError),
    /// The size of the test group
    #[error(
        "--test-group.members: {0} is not possible, give 1 to {MAX_MEMBERS}, or --test-group.enable=false"
    )]
    Members(u16),
    /// The rate of the probes
    #[error(
        "--test-group.probes-per-second: {0} is not possible, give 1 to {MAX_PROBES_PER_SECOND}, \
         or --test-group.enable=false"
    )]
    Probes(u32),
    /// The test group and HTTP want the same port
    #[error("--test-group.port: {port} is taken by --web.listen-address {listen}; give another port, or 0")]
    TestGroupPort {
        /// The port
        port: u16,
        /// The address that has it
        listen: ListenAddress,
    },
    /// The budget of series
    #[error(
        "--metrics.max-series: {0} is too few, give at least {MIN_SERIES} (the families with known labels need hundreds)"
    )]
    MaxSeries(usize),
}

impl TryFrom<&RunArguments> for Config {
    type Error = ConfigError;

    fn try_from(arguments: &RunArguments) -> Result<Self, ConfigError> {
        let listen = listen::parse_all(&arguments.web_listen_address)?;
        let telemetry_path = arguments.web_telemetry_path.parse()?;
        let test_group = test_group(arguments, &listen)?;
        if arguments.metrics_max_series < MIN_SERIES {
            return Err(ConfigError::MaxSeries(arguments.metrics_max_series));
        }
        let format = match arguments.events {
            Events::Json => Some(EventFormat::Json),
            Events::Text => Some(EventFormat::Text),
            Events::Off => None,
        };
        Ok(Self {
            web: Web { listen, telemetry_path },
            socket: arguments.socket.clone(),
            events: format.map(|format| EventOutput {
                format,
                repeats: arguments.events_repeats,
                command_lines: arguments.events_cmdline,
            }),
            log: Log { level: arguments.log_level, format: arguments.log_format },
            test_group,
            check: arguments.check_enable,
            max_series: arguments.metrics_max_series,
            btf_path: arguments.btf_path.clone(),
            trace_syscalls: arguments.trace_syscalls,
            trace_sendto: arguments.trace_sendto,
            trace_avoid: arguments.trace_avoid.clone(),
            strict: arguments.config_strict,
        })
    }
}

/// The test group asked for. Its values are checked even where it is off: a wrong one is a mistake all the same.
fn test_group(arguments: &RunArguments, listen: &[ListenAddress]) -> Result<Option<TestGroup>, ConfigError> {
    let members = arguments.test_group_members;
    if !(1..=MAX_MEMBERS).contains(&members) {
        return Err(ConfigError::Members(members));
    }
    let probes_per_second = arguments.test_group_probes_per_second;
    if !(1..=MAX_PROBES_PER_SECOND).contains(&probes_per_second) {
        return Err(ConfigError::Probes(probes_per_second));
    }
    let port = std::num::NonZeroU16::new(arguments.test_group_port);
    if !arguments.test_group_enable {
        return Ok(None);
    }
    let taken = port.and_then(|port| listen.iter().find(|address| address.covers_loopback(port.get())));
    if let Some(listen) = taken {
        return Err(ConfigError::TestGroupPort { port: arguments.test_group_port, listen: *listen });
    }
    Ok(Some(TestGroup { members, port, probes_per_second }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    fn config(flags: &[&str]) -> Result<Config, ConfigError> {
        let line = ["reuse-daemon", "run"].iter().chain(flags);
        let Command::Run(run) = Arguments::try_parse_from(line).expect("usage").command else {
            panic!("run was asked for");
        };
        Config::try_from(&*run)
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = config(&[]).expect("defaults");
        assert_eq!(config.web.listen.len(), 1);
        assert_eq!(config.test_group, Some(TestGroup { members: 4, port: None, probes_per_second: 8 }));
        assert_eq!(config.events.map(|events| events.format), Some(EventFormat::Text));
    }

    #[test]
    fn switches_take_their_parts_away() {
        let config = config(&["--events=off", "--test-group.enable=false"]).expect("valid");
        assert_eq!((config.events, config.test_group), (None, None));
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        assert_eq!(config(&["--test-group.members=0"]), Err(ConfigError::Members(0)));
        assert_eq!(config(&["--test-group.members=65"]), Err(ConfigError::Members(65)));
        assert_eq!(config(&["--test-group.probes-per-second=0"]), Err(ConfigError::Probes(0)));
        assert_eq!(config(&["--test-group.probes-per-second=1001"]), Err(ConfigError::Probes(1001)));
        assert_eq!(config(&["--metrics.max-series=999"]), Err(ConfigError::MaxSeries(999)));
        let text = config(&["--test-group.members=0"]).expect_err("refused").to_string();
        assert!(text.starts_with("--test-group.members: 0 is not possible, give 1 to 64"), "{text}");
    }

    #[test]
    fn test_group_stays_off_the_web_port() {
        let web = ["--web.listen-address=:8080", "--test-group.port=8080"];
        let error = config(&web).expect_err("the wildcard covers loopback");
        assert!(error.to_string().contains("8080 is taken by --web.listen-address [::]:8080"), "{error}");
        assert!(config(&["--web.listen-address=192.0.2.1:8080", "--test-group.port=8080"]).is_ok());
    }
}
