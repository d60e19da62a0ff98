//! A running daemon under test: asked over HTTP, read on its standard output, stopped by signal, and killed with the
//! test if the test fails.

mod ask;
mod launch;
mod output;
mod shared;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use self::output::Output;
pub(crate) use self::shared::is_handed_on;
pub use self::{
    launch::{Launch, Refusal},
    shared::Shared,
};
use crate::{
    deadline::{self, PROMPT},
    scratch::Scratch,
};

/// How long a clean stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A daemon that was ready when this was made.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    web: SocketAddr,
    socket: PathBuf,
    binary: PathBuf,
    stdout: Output,
    /// The events among its lines that were parsed so far: tests ask again and again
    parsed: Mutex<Vec<Arc<Value>>>,
    /// The events of before it was handed on, once a test has asked for them
    earlier: OnceLock<Vec<Arc<Value>>>,
    stderr: Output,
    /// From starting the process to `/-/ready` answering 200.
    pub start_to_ready: Duration,
    /// Removed after the daemon's end
    _scratch: Option<Scratch>,
}

/// The process of a daemon.
#[derive(Debug)]
enum Process {
    /// Ends with the test
    Own(Child),
    /// Is handed on to the next one
    HandedOn(Pid),
}

/// What a stopped daemon left.
#[derive(Debug)]
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output, line by line.
    pub stdout: Vec<Vec<u8>>,
    /// All it wrote to standard error.
    pub stderr: String,
}

impl Daemon {
    /// Starts a daemon with these flags beside the usual ones, or gives `None` after skipping the test aloud.
    ///
    /// # Errors
    /// As [`Launch::prepare`] and [`Launch::start`].
    pub fn start(flags: &[&str]) -> Result<Option<Self>> {
        let Some(launch) = Launch::prepare()? else { return Ok(None) };
        launch.flags(flags).start().map(Some)
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Own(child) => child.id(),
            Process::HandedOn(pid) => pid.as_raw().cast_unsigned(),
        }
    }

    /// Base name of its executable, as the daemon names services where there is nothing better.
    ///
    /// # Errors
    /// When `/proc` does not say.
    pub fn service_name(&self) -> Result<String> {
        let path =
            std::fs::read_link(format!("/proc/{}/exe", self.pid())).context("executable of the daemon")?;
        Ok(path.file_name().context("executable without a name")?.to_string_lossy().into_owned())
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn web(&self) -> SocketAddr {
        self.web
    }

    /// Where its local socket is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A command of the daemon's own binary, not run yet, that asks this daemon.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.args([name, "--socket"]).arg(&self.socket);
        command
    }

    /// The events written since its start, also to tests that had it before: what its counters count.
    ///
    /// # Errors
    /// As [`Daemon::events`].
    pub fn events_since_start(&self) -> Result<Vec<Arc<Value>>> {
        if self.earlier.get().is_none() {
            let earlier = parse_events(&self.stdout.earlier()?)?;
            // Whoever else has just done the same has read the same.
            let _ = self.earlier.set(earlier.into_iter().map(Arc::new).collect());
        }
        let earlier = self.earlier.get().into_iter().flatten();
        Ok(earlier.cloned().chain(self.events()?).collect())
    }

    /// The events written so far, or since the test took the daemon over.
    ///
    /// # Errors
    /// When a line on standard output is not a JSON object of schema 1.
    pub fn events(&self) -> Result<Vec<Arc<Value>>> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = parse_events(&self.stdout.since(parsed.len())?)?;
        parsed.extend(fresh.into_iter().map(Arc::new));
        Ok(parsed.clone())
    }

    /// Checks each event written so far, with its line. None is kept: for those that are too many.
    ///
    /// # Errors
    /// As [`Daemon::events`], or when `check` fails.
    pub fn check_events(&self, mut check: impl FnMut(&Value, &[u8]) -> Result<()>) -> Result<()> {
        self.stdout.each_line(|line| check(&parse_event(line)?, line))
    }

    /// The first event that `accept` picks, waiting for it.
    ///
    /// # Errors
    /// When none comes within [`PROMPT`]; the message carries the events that came instead.
    pub fn wait_event(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut seen = Vec::new();
        let found = deadline::until(what, PROMPT, || {
            let fresh = parse_events(&self.stdout.since(seen.len())?)?;
            seen.extend(fresh);
            Ok(seen.iter().find(|event| accept(event)).cloned())
        });
        found.with_context(|| {
            let last: Vec<String> = seen.iter().rev().take(5).map(Value::to_string).collect();
            format!("{} events seen, the last ones:\n{}", seen.len(), last.join("\n"))
        })
    }

    /// The lines on standard output so far.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn stdout_lines(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self.stdout.since(0)?)
    }

    /// Standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time, or is not the test's own.
    pub fn stop(mut self, signal: Signal) -> Result<Stopped> {
        let Process::Own(child) = &mut self.process else { bail!("this daemon is handed on") };
        kill(Pid::from_raw(child.id().cast_signed()), signal).with_context(|| format!("sending {signal}"))?;
        let ended = deadline::until("the daemon ends after the signal", STOP_LIMIT, || Ok(child.try_wait()?));
        let status = ended.with_context(|| format!("standard error:\n{}", self.stderr()))?;
        Ok(Stopped { status, stdout: self.stdout.since(0)?, stderr: self.stderr.text() })
    }

    /// Stops by SIGTERM and checks that it ended with status 0.
    ///
    /// # Errors
    /// When it did not.
    pub fn stop_cleanly(self) -> Result<Stopped> {
        let stopped = self.stop(Signal::SIGTERM)?;
        if stopped.status.code() != Some(0) {
            bail!("ended with {} after SIGTERM; standard error:\n{}", stopped.status, stopped.stderr);
        }
        Ok(stopped)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        match &mut self.process {
            Process::Own(child) => {
                // Already waited for after a clean stop: then both calls do nothing.
                let _ = child.kill();
                let _ = child.wait();
            }
            // The next test is not to meet what made this one fail.
            Process::HandedOn(pid) if failed => drop(shared::end(*pid, &self.binary)),
            Process::HandedOn(_) => {}
        }
        if failed {
            eprintln!("standard error of the daemon:\n{}", self.stderr());
        }
    }
}

/// Parses standard output as events.
///
/// # Errors
/// When a line is not a JSON object of schema 1.
pub fn parse_events(lines: &[Vec<u8>]) -> Result<Vec<Value>> {
    lines.iter().map(|line| parse_event(line)).collect()
}

fn parse_event(line: &[u8]) -> Result<Value> {
    let event: Value = serde_json::from_slice(line)
        .with_context(|| format!("standard output: {}", String::from_utf8_lossy(line)))?;
    if event["schema"] != 1 {
        bail!("standard output: schema is {}: {event}", event["schema"]);
    }
    Ok(event)
}
