//! Child processes that hold sockets, for tests about owners and exits.

use anyhow::{Context, Result};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};

/// A copy of this process made by fork(), with every descriptor this one had, that does nothing until it is killed.
#[derive(Debug)]
pub struct Forked {
    pid: Pid,
}

impl Forked {
    /// Forks.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> Result<Self> {
        // SAFETY: the child makes only system calls, which are safe after a fork of a threaded process.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Parent { child } => Ok(Self { pid: child }),
            ForkResult::Child => loop {
                // SAFETY: plain numbers; the child goes when the thread that forked it does, then waits for a signal.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::pause();
                }
            },
        }
    }

    /// Process id of the child.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Ends the child, and returns once the kernel has closed all it had open.
    pub fn exit(self) {
        drop(self);
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // It has not been waited for, so the id is still its own.
        let ended = kill(self.pid, Signal::SIGKILL).and_then(|()| waitpid(self.pid, None));
        if let Err(error) = ended {
            eprintln!("forked child {}: {error}", self.pid);
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
