//! The command line as clap structs.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Developer commands of reuse-daemon.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install whatever building and testing needs and this machine lacks.
    Setup(SetupArgs),
    /// Build the eBPF object and the static daemon.
    Build(BuildArgs),
    /// Build the daemon and run it as root.
    Run(RunArgs),
    /// Run every test: unit, end to end on this kernel, and in virtual machines.
    Test(TestArgs),
    /// Boot other kernels under emulation and run the end-to-end tests on each.
    Vm(VmArgs),
    /// Write the table of supported kernels from the results of the last runs.
    Support(SupportArgs),
    /// Try the rulebook of binds and listens against this kernel with random sockets.
    FuzzRules(FuzzRulesArgs),
    /// Watch real servers doing what they do every day: nothing above `info`, no event lost, no growth.
    Soak(SoakArgs),
    /// Formatting, lints of both sides, documentation.
    Lint(LintArgs),
}

/// How set-up behaves; part of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct SetupArgs {
    /// Install without asking.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Install nothing: list what is missing with the commands that would bring it, and exit with 1.
    #[arg(long, conflicts_with = "yes")]
    pub(crate) no_install: bool,
    /// Which compiler builds the eBPF object; by default the first that is at hand or can be had.
    #[arg(long, value_enum, value_name = "ORIGIN")]
    pub(crate) ebpf_toolchain: Option<Origin>,
}

/// Where the compiler of the eBPF object comes from, in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Origin {
    /// The toolchain rustup has active, with its rust-src component.
    Active,
    /// The pinned release, installed through rustup beside the active one.
    Pinned,
    /// The distribution's compiler and its core source.
    Distribution,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    /// Optimise; the binary is left in target/release instead of target/debug.
    #[arg(long)]
    pub(crate) release: bool,
    /// Build for another architecture; the binary is left in the folder of its target.
    #[arg(long, value_enum)]
    pub(crate) arch: Option<Architecture>,
}

/// Architectures that the eBPF programs know the registers of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    #[value(name = "x86_64")]
    X86,
    #[value(name = "aarch64")]
    Arm,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    /// Flags of `reuse-daemon run`, or another subcommand with its arguments.
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) daemon: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VmArgs {
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    /// Kernel series to boot, such as 6.12, or one way of booting it, such as 6.12-integrity; all by default.
    #[arg(value_name = "KERNEL")]
    pub(crate) kernels: Vec<String>,
    /// Only the tests whose name (`binary::test`) contains this; the results are not filed.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// List what can be booted and which kernels are cached.
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SupportArgs {
    /// Record as well what the programs cost each kernel's verifier now: later runs are held against it.
    #[arg(long)]
    pub(crate) record_cost: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FuzzRulesArgs {
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    /// How many scenarios.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) scenarios: u64,
    /// Begin no scenario once that many seconds have gone by.
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Where to begin: scenario n has the seed S + n. By default another one each time.
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// One protocol alone.
    #[arg(long, value_parser = ["tcp", "udp"])]
    pub(crate) protocol: Option<String>,
    /// Go on after a disagreement.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Threads; by default one for each processor.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    /// For how long.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) minutes: u64,
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn daemon_flags_pass_after_two_dashes() {
        let cli = Cli::parse_from(["cargo xtask", "run", "--yes", "--", "--events", "json"]);
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert!(run.setup.yes);
        assert_eq!(run.daemon, ["--events", "json"]);
    }
}
