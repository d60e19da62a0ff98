//! Child processes that hold sockets, for tests about owners and exits.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context, Result};
use nix::{
    fcntl::OFlag,
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork, pipe2},
};

use crate::deadline::{self, PROMPT};

/// A copy of this process made by fork(), with every descriptor this one had, that does nothing until it is killed or this
/// process ends.
#[derive(Debug)]
pub struct Forked {
    pid: Pid,
    /// The child reads the other end of this pipe, to its end
    _held: OwnedFd,
}

impl Forked {
    /// Forks.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> Result<Self> {
        Self::prepared(|| ())
    }

    /// Forks, and makes the copy another user's.
    ///
    /// # Errors
    /// The kernel's; the child does not become that user in time.
    pub fn of_user(uid: u32) -> Result<Self> {
        // SAFETY: plain numbers; a refusal shows below. Raw, because libc's wrapper signals the other threads.
        let forked = Self::prepared(|| unsafe {
            libc::syscall(libc::SYS_setresuid, uid, uid, uid);
        })?;
        let status = format!("/proc/{}/status", forked.pid);
        deadline::until("the forked process is another user's", PROMPT, || {
            let status = fs::read_to_string(&status).context("status of the forked process")?;
            let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("no uids")?;
            Ok(uids.split_whitespace().all(|shown| shown == uid.to_string()).then_some(()))
        })?;
        Ok(forked)
    }

    /// Not tied to the calling thread by a parent-death signal: that thread may end long before its process.
    fn prepared(prepare: impl FnOnce()) -> Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).context("pipe")?;
        // SAFETY: the child makes only system calls, which are safe after a fork of a threaded process.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Parent { child } => Ok(Self { pid: child, _held: write }),
            ForkResult::Child => {
                prepare();
                drop(write);
                // SAFETY: one byte of this frame; nobody ever writes, so the call returns at the end of the parent.
                unsafe {
                    let mut byte = 0_u8;
                    libc::read(read.as_raw_fd(), (&raw mut byte).cast(), 1);
                    libc::_exit(0)
                }
            }
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
