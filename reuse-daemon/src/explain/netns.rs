//! The network namespace a question is about.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, setns};
use reuse_model::socket::NetNs;
use thiserror::Error;

/// Why a namespace cannot be asked about.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// The file cannot be opened
    #[error(
        "no network namespace at {path}: {source}; name a process that lives in it by its id, or its file, such as \
         /run/netns/NAME for one of `ip netns`"
    )]
    Open {
        /// The file
        path: PathBuf,
        /// What the system says
        source: io::Error,
    },
    /// The kernel does not let this process in
    #[error("cannot enter the network namespace {path}: {source}; {remedy}")]
    Enter {
        /// The file
        path: PathBuf,
        /// What the kernel says
        source: io::Error,
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
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// That of a process id, or of a file.
    ///
    /// # Errors
    /// There is no such process or file, or it may not be looked at.
    pub fn named(name: &str) -> Result<Self, NetnsError> {
        match name.parse::<u32>() {
            Ok(pid) => Self::of_process(pid),
            Err(_) => Self::open(Path::new(name)),
        }
    }

    /// That of a process.
    ///
    /// # Errors
    /// There is no such process, or it may not be looked at.
    pub fn of_process(pid: u32) -> Result<Self, NetnsError> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    fn open(path: &Path) -> Result<Self, NetnsError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.ino(), file)));
        let (inode, file) = opened.map_err(|source| NetnsError::Open { path: path.to_owned(), source })?;
        // Numbers of namespaces have 32 bits; any other file is refused where it would be entered.
        Ok(Self { path: path.to_owned(), file, number: NetNs(u32::try_from(inode).unwrap_or(0)) })
    }

    /// Moves the calling thread in, for good.
    ///
    /// # Errors
    /// The file is no network namespace, or the kernel does not let this process in.
    pub fn enter(&self) -> Result<(), NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| NetnsError::Enter {
            path: self.path.clone(),
            source: errno.into(),
            remedy: match errno {
                nix::Error::EPERM => "that takes root (sudo)",
                _ => "the file is no network namespace",
            },
        })
    }
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
        let file = Netns::named("/proc/self/status").unwrap().enter().unwrap_err().to_string();
        assert!(file.contains("/proc/self/status"), "{file}");
    }
}
