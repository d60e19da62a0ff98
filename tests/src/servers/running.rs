//! A server's process, from start to end.

use std::{
    collections::BTreeSet,
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

    /// Waits until it, or a process it started, listens at this TCP port of its network namespace.
    ///
    /// # Errors
    /// As [`Running::until`].
    pub fn until_listening(&mut self, port: u16) -> Result<()> {
        let pid = self.pid();
        self.until(&format!("it listens at port {port}"), || {
            let mut family = family(pid)?.into_iter();
            Ok(family.any(|pid| is_listening(pid, port)).then_some(()))
        })
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// The kernel's.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
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

/// The processes that this one started and that are there still.
///
/// # Errors
/// When it is gone.
pub fn children(pid: u32) -> Result<BTreeSet<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(&path).context(path)?;
    children.split_whitespace().map(|pid| pid.parse().context("a child's pid")).collect()
}

/// The process and its children.
fn family(pid: u32) -> Result<Vec<u32>> {
    Ok([pid].into_iter().chain(children(pid)?).collect())
}

/// Whether the process has a listener at this port; one that is gone has none.
fn is_listening(pid: u32, port: u16) -> bool {
    let own = super::watched::sockets_of(pid).unwrap_or_default();
    ["tcp", "tcp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        text.lines().skip(1).any(|line| {
            // sl local_address rem_address st queues timer retransmits uid timeout inode (net/ipv4/tcp_ipv4.c)
            let fields: Vec<&str> = line.split_whitespace().collect();
            let &[_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return false };
            let at = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            at == Some(port) && state == "0A" && inode.parse().is_ok_and(|inode| own.contains(&inode))
        })
    })
}

/// Sends a signal to a process of a server.
///
/// # Errors
/// The kernel's.
pub(super) fn send(pid: u32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(pid.cast_signed()), signal).with_context(|| format!("{signal} to {pid}"))
}
