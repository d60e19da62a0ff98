//! Starting the daemon with the flags of a test.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Daemon, Process, output::Output, shared};
use crate::{
    deadline, http,
    scratch::Scratch,
    skip,
    sockets::{Transport, free_port},
};

/// How long a daemon may take to be ready; its own target is a quarter of a second.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a daemon that cannot start may take to say so.
const REFUSAL_LIMIT: Duration = Duration::from_secs(20);

/// Trying the claims at every start would take the processor from what is tested.
const CHECK: &str = "--check.enable";

/// Daemons of this process, for a directory of each one's own.
static LAUNCHED: AtomicUsize = AtomicUsize::new(0);

/// A daemon about to be started: `run` with JSON events on a free loopback port, and what a test adds.
#[derive(Debug)]
pub struct Launch {
    binary: PathBuf,
    web: SocketAddr,
    scratch: Scratch,
    socket: Option<PathBuf>,
    events: &'static str,
    arguments: Vec<OsString>,
    user: Option<u32>,
}

/// How a daemon that did not start ended.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard error.
    pub stderr: String,
}

impl Launch {
    /// `None` after the calling test was skipped aloud, because there is no daemon to test.
    ///
    /// # Errors
    /// As [`skip::daemon_binary`], or when no port is free.
    pub fn prepare() -> Result<Option<Self>> {
        let Some(binary) = skip::daemon_binary()? else { return Ok(None) };
        let port = free_port(Transport::Tcp, Ipv4Addr::LOCALHOST.into())?;
        let web = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let scratch = Scratch::new(&format!("daemon-{}", LAUNCHED.fetch_add(1, Relaxed)))?;
        let (events, arguments) = ("json", Vec::new());
        Ok(Some(Self { binary, web, scratch, socket: None, events, arguments, user: None }))
    }

    /// Adds flags of `run`.
    #[must_use]
    pub fn flags<A: Into<OsString>>(mut self, flags: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(flags.into_iter().map(Into::into));
        self
    }

    /// `--events` with another value than `json`.
    #[must_use]
    pub fn events(mut self, format: &'static str) -> Self {
        self.events = format;
        self
    }

    /// Serves on this address instead of a free one.
    #[must_use]
    pub fn web(mut self, address: SocketAddr) -> Self {
        self.web = address;
        self
    }

    /// Serves the local socket at this path instead of one of its own.
    #[must_use]
    pub fn socket(mut self, path: &Path) -> Self {
        self.socket = Some(path.to_owned());
        self
    }

    /// Where the local socket will be.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.scratch.path().join("api.sock"))
    }

    /// Runs the daemon under another user id.
    #[must_use]
    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// Runs this binary instead: a copy where another user can reach it.
    #[must_use]
    pub fn binary(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.binary);
        self
    }

    /// The binary that will run.
    #[must_use]
    pub fn binary_path(&self) -> &Path {
        &self.binary
    }

    /// Starts the daemon and waits until it is ready. One that tests hand on to each other is ended before: it would see
    /// all that this one sees, and take its time.
    ///
    /// # Errors
    /// When it ends first or is not ready in time; the message carries what it wrote.
    pub fn start(self) -> Result<Daemon> {
        shared::end_unused()?;
        self.start_with([Output::new()?, Output::new()?])
    }

    /// Starts the daemon with these for its standard output and standard error.
    pub(super) fn start_with(self, streams: [Output; 2]) -> Result<Daemon> {
        let started = Instant::now();
        let child = self.spawn(&streams)?;
        let [stdout, stderr] = streams;
        let (socket, binary) = (self.socket_path(), self.binary);
        let (web, start_to_ready) = (self.web, Duration::ZERO);
        let mut daemon = Daemon {
            process: Process::Own(child),
            web,
            socket,
            binary,
            stdout,
            parsed: Mutex::default(),
            earlier: OnceLock::new(),
            stderr,
            start_to_ready,
            _scratch: Some(self.scratch),
        };
        let ready = deadline::until("the daemon is ready", START_LIMIT, || {
            if let Process::Own(child) = &mut daemon.process
                && let Some(status) = child.try_wait()?
            {
                bail!("the daemon ended before it was ready: {status}");
            }
            Ok(http::get(daemon.web, "/-/ready").ok().filter(|answer| answer.status == 200))
        });
        if let Err(error) = ready {
            return Err(error.context(format!("standard error:\n{}", daemon.stderr())));
        }
        daemon.start_to_ready = started.elapsed();
        Ok(daemon)
    }

    /// Runs a daemon that is expected not to start, to its end.
    ///
    /// # Errors
    /// When it keeps running.
    pub fn run_to_end(self) -> Result<Refusal> {
        let streams = [Output::new()?, Output::new()?];
        let mut child = self.spawn(&streams)?;
        let ended = deadline::until("the daemon ends", REFUSAL_LIMIT, || Ok(child.try_wait()?));
        if ended.is_err() {
            child.kill()?;
            child.wait()?;
        }
        let stderr = streams[1].text();
        let status = ended.with_context(|| format!("standard error:\n{stderr}"))?;
        Ok(Refusal { status, stderr })
    }

    fn spawn(&self, [stdout, stderr]: &[Output; 2]) -> Result<Child> {
        self.command()
            .stdin(Stdio::null())
            .stdout(stdout.stdio()?)
            .stderr(stderr.stdio()?)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(["run", "--events", self.events, "--web.listen-address"])
            .arg(self.web.to_string())
            .arg("--socket")
            .arg(self.socket_path())
            .args(&self.arguments);
        let chosen = |flag: &OsString| flag.to_string_lossy().starts_with(CHECK);
        if !self.arguments.iter().any(chosen) {
            command.arg(format!("{CHECK}=false"));
        }
        // Settings of whoever runs the tests are not the test's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REUSE_") {
                command.env_remove(name);
            }
        }
        if let Some(uid) = self.user {
            use std::os::unix::process::CommandExt;
            command.uid(uid).gid(uid);
        }
        command
    }
}
