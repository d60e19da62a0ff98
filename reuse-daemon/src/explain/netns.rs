//! The network namespace a question is about.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::{FsType, fstatfs},
};
use reuse_model::socket::NetNs;
use thiserror::Error;

use super::process::{ProcessError, more_privileges};

/// include/uapi/linux/magic.h
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);
/// include/uapi/linux/nsfs.h
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Why a namespace cannot be asked about.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// The process that is named cannot be looked at
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The file cannot be opened
    #[error(
        "no network namespace at {path} ({reason}); name a process that lives in it by its id, or its file, such as \
         /run/netns/NAME for one of `ip netns`"
    )]
    Open {
        /// The file
        path: PathBuf,
        /// What the system says
        reason: io::Error,
    },
    /// The file may not be opened
    #[error("may not open {path}: {remedy}")]
    Denied {
        /// The file
        path: PathBuf,
        /// What to do
        remedy: &'static str,
    },
    /// The file is something else
    #[error("{0} is no network namespace")]
    Other(PathBuf),
    /// The kernel does not let this process in
    #[error("cannot enter the network namespace {path} ({reason}): {remedy}")]
    Enter {
        /// The file
        path: PathBuf,
        /// What the kernel says
        reason: io::Error,
        /// What to do
        remedy: &'static str,
    },
}

/// An open network namespace.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    file: File,
    /// Its inode number
    pub number: NetNs,
}

impl Netns {
    /// The calling thread's.
    ///
    /// # Errors
    /// There is no procfs.
    pub fn own() -> Result<Self, NetnsError> {
        Self::of_file(Path::new("/proc/thread-self/ns/net"))
    }

    /// That of a process id, or of a file.
    ///
    /// # Errors
    /// There is no such process or file, it may not be looked at, or the file is no network namespace.
    pub fn named(name: &str) -> Result<Self, NetnsError> {
        match name.parse::<u32>() {
            Ok(pid) => Self::of_process(pid),
            Err(_) => Self::of_file(Path::new(name)),
        }
    }

    /// That of a process.
    ///
    /// # Errors
    /// There is no such process, or it may not be looked at.
    pub fn of_process(pid: u32) -> Result<Self, NetnsError> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let file = open(&path).map_err(|error| ProcessError::of(pid, error))?;
        Self::of_open(path, file)
    }

    fn of_file(path: &Path) -> Result<Self, NetnsError> {
        let file = open(path).map_err(|reason| match reason.kind() {
            io::ErrorKind::PermissionDenied => NetnsError::Denied {
                path: path.to_owned(),
                remedy: more_privileges(nix::unistd::geteuid().is_root()),
            },
            _ => NetnsError::Open { path: path.to_owned(), reason },
        })?;
        Self::of_open(path.to_owned(), file)
    }

    fn of_open(path: PathBuf, file: File) -> Result<Self, NetnsError> {
        if !is_netns(&file) {
            return Err(NetnsError::Other(path));
        }
        // Numbers of namespaces have 32 bits (include/linux/ns_common.h).
        let number = file.metadata().ok().and_then(|metadata| u32::try_from(metadata.ino()).ok());
        match number {
            Some(number) => Ok(Self { path, file, number: NetNs(number) }),
            None => Err(NetnsError::Other(path)),
        }
    }

    /// Moves the calling thread in, for good.
    ///
    /// # Errors
    /// The kernel does not let this process in.
    pub fn enter(&self) -> Result<(), NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| NetnsError::Enter {
            path: self.path.clone(),
            reason: errno.into(),
            remedy: more_privileges(nix::unistd::geteuid().is_root()),
        })
    }
}

/// A pipe without a writer must not hold the command up.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// The request means something else to files of other kinds, so that the file system is looked at first.
fn is_netns(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
        // SAFETY: the request takes no argument.
        && unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) } == libc::CLONE_NEWNET
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_its_file_are_one_namespace() {
        let own = Netns::own().unwrap();
        assert_ne!(own.number, NetNs(0));
        let pid = std::process::id().to_string();
        assert_eq!(Netns::named(&pid).unwrap().number, own.number);
        assert_eq!(Netns::named("/proc/self/ns/net").unwrap().number, own.number);
    }

    #[test]
    fn what_is_none_is_refused_by_name() {
        let missing = Netns::named("/run/netns/no-such").unwrap_err().to_string();
        assert!(missing.contains("/run/netns/no-such") && missing.contains("by its id"), "{missing}");
        for other in ["/proc/self/status", "/etc/passwd", "/proc/self/ns/mnt", "/"] {
            let said = Netns::named(other).unwrap_err().to_string();
            assert_eq!(said, format!("{other} is no network namespace"));
        }
        assert_eq!(Netns::of_process(0).unwrap_err().to_string(), "there is no such process");
    }
}
