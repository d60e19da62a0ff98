//! Processes that the command line names, and why one cannot be looked at.

use std::io;

use thiserror::Error;

/// Why a process cannot be looked at.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It has gone, or never was
    #[error("there is no such process")]
    Gone,
    /// Reading of it takes more privileges (ptrace(2), PTRACE_MODE_READ)
    #[error("may not look at process {pid}: {remedy}")]
    Denied {
        /// The process
        pid: u32,
        /// What to do
        remedy: &'static str,
    },
    /// Anything else
    #[error("cannot look at process {pid} ({reason})")]
    Failed {
        /// The process
        pid: u32,
        /// What the system says
        reason: io::Error,
    },
}

impl ProcessError {
    /// What a failure to read of the directory of `pid` in procfs means to this process.
    #[must_use]
    pub fn of(pid: u32, error: io::Error) -> Self {
        Self::seen_by(pid, error, nix::unistd::geteuid().is_root())
    }

    fn seen_by(pid: u32, error: io::Error, is_root: bool) -> Self {
        match error.kind() {
            // A process that ends while its file is read gives ESRCH.
            _ if error.raw_os_error() == Some(libc::ESRCH) => Self::Gone,
            io::ErrorKind::NotFound => Self::Gone,
            io::ErrorKind::PermissionDenied => Self::Denied { pid, remedy: more_privileges(is_root) },
            _ => Self::Failed { pid, reason: error },
        }
    }
}

/// What gives permission.
pub(super) fn more_privileges(is_root: bool) -> &'static str {
    if is_root {
        "a security module or the container forbids it, run on the host itself"
    } else {
        "run as root (sudo)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_it_means() {
        let said = |errno, is_root| {
            ProcessError::seen_by(1, io::Error::from_raw_os_error(errno), is_root).to_string()
        };
        assert_eq!(said(libc::ENOENT, false), "there is no such process");
        assert_eq!(said(libc::ESRCH, true), "there is no such process");
        assert_eq!(said(libc::EACCES, false), "may not look at process 1: run as root (sudo)");
        assert!(said(libc::EACCES, true).contains("process 1: a security module or the container"));
        assert!(said(libc::EMFILE, true).contains("os error 24"));
    }
}
