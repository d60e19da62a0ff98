//! Arguments of `run`: every flag has a variable of the environment beside it, which the flag overrides.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum, builder::BoolishValueParser};

use crate::{export::local::protocol::DEFAULT_PATH, kernel::capabilities::Capability};

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit status: 0 after SIGTERM or SIGINT, 1 cannot start, 2 usage\n\n\
    Examples:\n  \
    sudo reuse-daemon run\n  \
    sudo reuse-daemon run --web.listen-address 127.0.0.1:10542 --web.listen-address [::1]:10542\n  \
    sudo reuse-daemon run --events json --events.repeats all | jq 'select(.type == \"conflict\")'\n  \
    sudo REUSE_TEST_GROUP_ENABLE=false reuse-daemon run\n  \
    reuse-daemon run --config.file /etc/reuse-daemon.toml --config.check")]
pub struct RunArguments {
    /// Address and port to serve HTTP on; repeatable, in the environment separated by commas
    #[arg(
        long = "web.listen-address",
        env = "REUSE_WEB_LISTEN_ADDRESS",
        value_name = "ADDR:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:10542"
    )]
    pub web_listen_address: Vec<String>,

    /// Path of the metrics
    #[arg(
        long = "web.telemetry-path",
        env = "REUSE_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value = "/metrics"
    )]
    pub web_telemetry_path: String,

    /// Path of the local socket, over which the other commands ask; mode 0600
    #[arg(long = "socket", env = "REUSE_SOCKET", value_name = "PATH", default_value = DEFAULT_PATH)]
    pub socket: PathBuf,

    /// TOML file of flags: `events = "json"`, `web.listen-address = ["127.0.0.1:10542"]`; the command line and the
    /// environment come first. Also of the policy on signals (`[[policy.expect]]`), which SIGHUP reads anew
    #[arg(long = "config.file", env = "REUSE_CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Check flags, environment and file, say what is wrong, and exit
    #[arg(long = "config.check", env = "REUSE_CONFIG_CHECK", value_parser = BoolishValueParser::new())]
    pub config_check: bool,

    /// Refuse to start when the kernel or the privileges lack any tier
    #[arg(long = "config.strict", env = "REUSE_CONFIG_STRICT", value_parser = BoolishValueParser::new())]
    pub config_strict: bool,

    /// Least severe log message to write to stderr
    #[arg(long = "log.level", env = "REUSE_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,

    /// Form of the log
    #[arg(long = "log.format", env = "REUSE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Form of the events on stdout
    #[arg(long = "events", env = "REUSE_EVENTS", value_enum, default_value_t = Events::Text)]
    pub events: Events,

    /// What to do with refusals that repeat: one record per 10 s, or each
    #[arg(
        long = "events.repeats",
        env = "REUSE_EVENTS_REPEATS",
        value_enum,
        default_value_t = Repeats::Summary
    )]
    pub events_repeats: Repeats,

    /// Whether events on stdout carry command lines, which may hold secrets
    #[arg(
        long = "events.cmdline",
        env = "REUSE_EVENTS_CMDLINE",
        value_enum,
        default_value_t = CommandLines::None
    )]
    pub events_cmdline: CommandLines,

    /// Whether to run the test listener group and its probes
    #[arg(
        long = "test-group.enable",
        env = "REUSE_TEST_GROUP_ENABLE",
        action = ArgAction::Set,
        value_name = "BOOL",
        default_value_t = true
    )]
    pub test_group_enable: bool,

    /// Members of the test group, for each of TCP and UDP, IPv4 and IPv6
    #[arg(
        long = "test-group.members",
        env = "REUSE_TEST_GROUP_MEMBERS",
        value_name = "N",
        default_value_t = 4
    )]
    pub test_group_members: u16,

    /// Loopback port of the test group; 0: the kernel chooses
    #[arg(long = "test-group.port", env = "REUSE_TEST_GROUP_PORT", value_name = "PORT", default_value_t = 0)]
    pub test_group_port: u16,

    /// Probes a second, all protocols and families together
    #[arg(
        long = "test-group.probes-per-second",
        env = "REUSE_TEST_GROUP_PROBES_PER_SECOND",
        value_name = "N",
        default_value_t = 8
    )]
    pub test_group_probes_per_second: u32,

    /// Whether to try the claims about socket options on this kernel, at the start and once a day, in a process and a
    /// network namespace of its own
    #[arg(
        long = "check.enable",
        env = "REUSE_CHECK_ENABLE",
        action = ArgAction::Set,
        value_name = "BOOL",
        default_value_t = true
    )]
    pub check_enable: bool,

    /// Most series served, all families together; beyond it label values fold to `other`
    #[arg(
        long = "metrics.max-series",
        env = "REUSE_METRICS_MAX_SERIES",
        value_name = "N",
        default_value_t = 10_000
    )]
    pub metrics_max_series: usize,

    /// Whether to trace bind and listen at their system calls; without, no other call of the host pays for it, and why a
    /// bind was refused is inferred
    #[arg(
        long = "trace.syscalls",
        env = "REUSE_TRACE_SYSCALLS",
        action = ArgAction::Set,
        value_name = "BOOL",
        default_value_t = true
    )]
    pub trace_syscalls: bool,

    /// Whether to see sends and connects of datagram sockets that found no port; costs every sendto, sendmsg and connect
    /// of the host 25 to 30 ns
    #[arg(
        long = "trace.sendto",
        env = "REUSE_TRACE_SENDTO",
        action = ArgAction::Set,
        value_name = "BOOL",
        default_value_t = false
    )]
    pub trace_sendto: bool,

    /// Trace as if this kernel had not this capability (repeatable): for finding out what it is needed for. A wrong name
    /// lists the right ones
    #[arg(
        long = "trace.avoid",
        env = "REUSE_TRACE_AVOID",
        value_name = "CAPABILITY",
        value_delimiter = ',',
        value_parser = str::parse::<Capability>
    )]
    pub trace_avoid: Vec<Capability>,

    /// Read kernel types from this file, not from where they usually are (/sys/kernel/btf/vmlinux, /boot)
    #[arg(long = "btf.path", env = "REUSE_BTF_PATH", value_name = "FILE")]
    pub btf_path: Option<PathBuf>,
}

/// Severity of log messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What stops or degrades the daemon
    Error,
    /// What an operator should look at
    Warn,
    /// Start, stop and changes of state
    Info,
    /// Details, with the diagnostics of the kernel programs
    Debug,
    /// Everything
    Trace,
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// One line of text
    Text,
}

/// Form of the events on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Events {
    /// One JSON object a line
    Json,
    /// One sentence a line
    Text,
    /// None
    Off,
}

/// What to do with refusals that repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Repeats {
    /// The first at once, further ones as one record per 10 s
    Summary,
    /// Each
    All,
}

/// Whether events carry command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CommandLines {
    /// No
    None,
    /// Yes, whole
    Full,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::{Arguments, Command};

    fn parse(flags: &[&str]) -> RunArguments {
        let line = ["reuse-daemon", "run"].iter().chain(flags);
        let arguments = Arguments::try_parse_from(line).expect("valid");
        match arguments.command {
            Command::Run(run) => *run,
            _ => panic!("run was asked for"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_interface() {
        let run = parse(&[]);
        assert_eq!(run.web_listen_address, ["127.0.0.1:10542"]);
        assert_eq!(run.web_telemetry_path, "/metrics");
        assert_eq!((run.events, run.events_repeats), (Events::Text, Repeats::Summary));
        assert_eq!(run.events_cmdline, CommandLines::None);
        assert!(run.test_group_enable && run.check_enable);
        assert_eq!((run.test_group_members, run.test_group_port), (4, 0));
        assert_eq!(run.test_group_probes_per_second, 8);
        assert_eq!(run.metrics_max_series, 10_000);
        assert!(!run.config_check && !run.config_strict);
        assert_eq!(run.socket, PathBuf::from("/run/reuse-daemon/api.sock"));
    }

    #[test]
    fn listen_address_repeats_and_takes_commas() {
        let run = parse(&["--web.listen-address", "127.0.0.1:1,[::1]:2", "--web.listen-address=127.0.0.2:3"]);
        assert_eq!(run.web_listen_address, ["127.0.0.1:1", "[::1]:2", "127.0.0.2:3"]);
    }

    #[test]
    fn test_group_is_switched_by_a_word() {
        assert!(!parse(&["--test-group.enable=false"]).test_group_enable);
        assert!(parse(&["--test-group.enable", "true"]).test_group_enable);
        assert!(Arguments::try_parse_from(["reuse-daemon", "run", "--test-group.enable=maybe"]).is_err());
    }

    #[test]
    fn every_flag_has_its_variable() {
        let command = Arguments::command();
        let run = command.find_subcommand("run").expect("run is a command");
        let mut seen = BTreeSet::new();
        for argument in run.get_arguments() {
            let Some(flag) = argument.get_long().filter(|flag| !["help", "version"].contains(flag)) else {
                continue;
            };
            let expected = format!("REUSE_{}", flag.replace(['.', '-'], "_").to_uppercase());
            let variable = argument.get_env().unwrap_or_else(|| panic!("--{flag} has no variable"));
            assert_eq!(variable.to_str(), Some(expected.as_str()), "--{flag}");
            seen.insert(expected);
        }
        assert_eq!(seen.len(), 21, "{seen:?}");
    }
}
