//! `run`: the daemon, from arguments to exit status.

use std::{
    io::{self, IsTerminal as _},
    net::{SocketAddr, TcpListener},
    process::ExitCode,
};

use anyhow::Context as _;
use reuse_model::{endpoint::Transport, signal::Policy};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    cli::{Color, RunArguments},
    config::{Config, ListenAddress},
    daemon::{self, Prepared},
    export::local::LocalSocket,
    kernel::{object, privileges},
    logging,
    owner::port::PortHolders,
    reload::ConfigFile,
};

/// Status of a usage error, as clap's own
const USAGE: u8 = 2;
/// Connections that may wait to be accepted
const BACKLOG: i32 = 1024;
/// Scheduled some three times as much as others that want the processor
const NICENESS: i32 = -5;

/// Runs the command.
#[must_use]
pub fn main(arguments: &RunArguments, color: Color) -> ExitCode {
    let config = match Config::try_from(arguments) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("reuse-daemon: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let file = arguments.config_file.clone().map(ConfigFile::of_process).transpose();
    let (config_file, policy) = match file {
        Ok(file) => file.map_or_else(|| (None, Policy::default()), |(file, policy)| (Some(file), policy)),
        Err(error) => {
            eprintln!("reuse-daemon: {error}");
            return ExitCode::from(USAGE);
        }
    };
    if arguments.config_check {
        println!("the configuration is valid");
        return ExitCode::SUCCESS;
    }
    logging::start(config.log);
    let no_color = std::env::var_os("NO_COLOR");
    let colored = color.applies(io::stdout().is_terminal(), no_color.as_deref());
    match run(config, config_file, policy, colored) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reuse-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config, config_file: Option<ConfigFile>, policy: Policy, colored: bool) -> anyhow::Result<()> {
    object::require()?;
    privileges::check()?;
    let listeners = config.web.listen.iter().map(listen).collect::<anyhow::Result<Vec<_>>>()?;
    let local = LocalSocket::bind(&config.socket)?;
    come_first();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(daemon::run(Prepared { config, config_file, policy, listeners, local, colored }))
}

/// The ring of events holds what a busy host sends in a few dozen milliseconds: the reader must not wait its turn behind
/// the very processes that fill it. It needs little time itself.
fn come_first() {
    // SAFETY: changes a number of this process; nothing of the program depends on it.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } != 0 {
        log::debug!("runs at its inherited niceness: {}", io::Error::last_os_error());
    }
}

/// Binds a listen address, or says who has it.
fn listen(address: &ListenAddress) -> anyhow::Result<TcpListener> {
    bind(address.0).map_err(|error| {
        let who = if error.kind() == io::ErrorKind::AddrInUse {
            format!(": the port is taken by {}", PortHolders::of(Transport::Tcp, address.0.port()))
        } else {
            String::new()
        };
        anyhow::Error::new(error).context(format!(
            "cannot listen on {address}{who}; stop it, or give another address with --web.listen-address"
        ))
    })
}

/// `[::]` takes IPv4 too; SO_REUSEADDR lets a restart bind over its own closed connections.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
