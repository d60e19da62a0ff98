//! Child processes that hold sockets, for tests about owners and exits.

use std::{io::Write, os::fd::OwnedFd};

use anyhow::{Context, Result, bail};
use nix::{
    sys::wait::waitpid,
    unistd::{ForkResult, Pid, fork, pipe},
};

/// A copy of this process made by fork(), with every descriptor this one had, that does nothing until it is told to end.
#[derive(Debug)]
pub struct Forked {
    pid: Pid,
    /// The child ends when this end of the pipe closes.
    leash: Option<OwnedFd>,
}

impl Forked {
    /// Forks.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> Result<Self> {
        let (reader, writer) = pipe().context("pipe")?;
        // SAFETY: the child makes only calls that are safe after a fork of a threaded process: close, read, _exit.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Parent { child } => Ok(Self { pid: child, leash: Some(writer) }),
            ForkResult::Child => {
                drop(writer);
                let mut byte = [0_u8; 1];
                // Returns when the parent closes its end, or dies.
                let _ = nix::unistd::read(&reader, &mut byte);
                // SAFETY: ends the child without running destructors or exit handlers of the parent's copies.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// Process id of the child.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Lets the child exit, and waits until it has.
    ///
    /// # Errors
    /// When it did not end by itself.
    pub fn exit(mut self) -> Result<()> {
        self.reap()
    }

    fn reap(&mut self) -> Result<()> {
        if self.leash.take().is_some() {
            match waitpid(self.pid, None).context("waiting for the forked child")? {
                nix::sys::wait::WaitStatus::Exited(_, 0) => {}
                status => bail!("forked child ended with {status:?}"),
            }
        }
        Ok(())
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if let Err(error) = self.reap() {
            eprintln!("{error:#}");
        }
    }
}

/// Names the calling thread in the kernel (`comm`): any bytes but NUL, cut to 15.
///
/// # Errors
/// When the name holds a NUL or the kernel refuses.
pub fn set_comm(name: &[u8]) -> Result<()> {
    let name = std::ffi::CString::new(name).context("comm with a NUL")?;
    nix::sys::prctl::set_name(&name).context("PR_SET_NAME")
}

/// Writes a kernel setting below `/proc/sys`, in the namespace of the calling thread where the setting has one.
///
/// # Errors
/// When there is no such setting, or it refuses the value.
pub fn write_sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).with_context(|| path.clone())?;
    file.write_all(value.as_bytes()).with_context(|| format!("{path} = {value}"))
}
