//! A server's process, from start to end.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{deadline, namespace::Namespace};

/// How long a server may take to end after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A server in the foreground, ended on drop with those it started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it inside the namespace; what it prints goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(namespace: &Namespace, command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("making {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let program = command.get_program().to_owned();
        let child = namespace.run(|| command.spawn().with_context(|| format!("starting {program:?}")))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Process id of the one that was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the one that was started.
    ///
    /// # Errors
    /// The kernel's.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid(), signal)
    }

    /// Waits until `attempt` gives a value, or the server has ended.
    ///
    /// # Errors
    /// When the server ended or time is over: with what it printed.
    pub fn until<T>(&mut self, what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let found = deadline::until(what, deadline::PROMPT, || match self.child.try_wait()? {
            Some(status) => bail!("the server ended: {status}"),
            None => attempt(),
        });
        found.with_context(|| format!("it printed: {}", fs::read_to_string(&self.log).unwrap_or_default()))
    }

    /// Ends it by SIGTERM, which the servers here take as an order to end at once.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn end(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        deadline::until("the server ends", END_LIMIT, || Ok(self.child.try_wait()?))?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        if let Err(error) = self.end() {
            eprintln!("server {}: {error:#}", self.pid());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal to a process of a server.
///
/// # Errors
/// The kernel's.
pub(super) fn send(pid: u32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(pid.cast_signed()), signal).with_context(|| format!("{signal} to {pid}"))
}
