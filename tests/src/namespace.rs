//! Network namespaces of a test's own: every port is free in them, and nothing outside is disturbed.

use std::{
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use crate::daemon::is_handed_on;

/// Where `ip netns` has them.
const DIRECTORY: &str = "/run/netns";

/// A network namespace named as `ip netns` names them, with loopback up; removed on drop, unless a daemon that tests hand on
/// goes on watching.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes `rt-<purpose>-<pid>`.
    ///
    /// # Errors
    /// When `ip` is missing or refuses.
    pub fn new(purpose: &str) -> Result<Self> {
        let name = format!("rt-{purpose}-{}", std::process::id());
        // What a test killed before its drop left behind.
        let path = Path::new(DIRECTORY).join(&name);
        if path.exists() {
            ip(&["netns", "del", &name])?;
        }
        ip(&["netns", "add", &name])?;
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let namespace = Self { name, file };
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name, as `ip netns list` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// Runs `ip -n <this namespace> <arguments>`.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend_from_slice(arguments);
        ip(&all)
    }

    /// Runs `work` on a thread inside the namespace. Sockets made there stay there, wherever they are used later.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` fails.
    ///
    /// # Panics
    /// Passes on a panic of `work`, so that an assertion in it fails the test.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter()?;
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into the namespace for good: only for threads that end with their work.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> Result<()> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The kernel would give its number to the next one, and a daemon that lives on keeps the name for a while.
        if is_handed_on() {
            return;
        }
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            eprintln!("namespace {} stays behind: {error:#}", self.name);
        }
    }
}

/// Inode number of the calling thread's network namespace.
///
/// # Errors
/// When `/proc` does not say.
pub fn inode() -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let path = "/proc/thread-self/ns/net";
    Ok(std::fs::metadata(path).context(path)?.ino())
}

/// Runs `work` on a thread with a namespace that has no name anywhere.
///
/// # Errors
/// When the kernel refuses, or `work` fails.
///
/// # Panics
/// Passes on a panic of `work`.
pub fn unnamed<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).context("unsharing the network namespace")?;
            // A new namespace starts with loopback down; `ip` runs as a child of this thread, hence inside.
            ip(&["link", "set", "lo", "up"])?;
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("running ip (package iproute2)")?;
    if !output.status.success() {
        bail!(
            anyhow!("{}", String::from_utf8_lossy(&output.stderr).trim().to_owned())
                .context(format!("ip {}", arguments.join(" ")))
        );
    }
    Ok(())
}
