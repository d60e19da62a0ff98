//! Who would make the socket: its uid, and whether it may bind privileged ports.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use super::process::ProcessError;

/// include/uapi/linux/nsfs.h
const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_PARENT: libc::Ioctl = 0xb702;
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;
/// include/uapi/linux/capability.h
const CAP_NET_BIND_SERVICE: u32 = 10;
/// User namespaces within one another (kernel/user_namespace.c, `create_user_ns`: 32)
const DEPTH: usize = 33;

/// The process that would make the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Uid of its sockets: its file system uid
    pub uid: u32,
    /// It has CAP_NET_BIND_SERVICE in the user namespace that owns the network namespace
    pub may_bind_privileged: bool,
}

impl Asker {
    /// A process without capabilities unless it is root.
    #[must_use]
    pub fn of_uid(uid: u32) -> Self {
        Self { uid, may_bind_privileged: uid == 0 }
    }

    /// The process `pid`, in the network namespace of `netns`.
    ///
    /// # Errors
    /// It is gone, or may not be looked at.
    pub fn of_process(pid: u32, netns: BorrowedFd<'_>) -> Result<Self, ProcessError> {
        Self::of_directory(&format!("/proc/{pid}"), pid, netns)
    }

    /// This process, also where procfs counts pids of another namespace.
    ///
    /// # Errors
    /// There is no procfs.
    pub fn of_this_process(netns: BorrowedFd<'_>) -> Result<Self, ProcessError> {
        Self::of_directory("/proc/self", std::process::id(), netns)
    }

    fn of_directory(proc: &str, pid: u32, netns: BorrowedFd<'_>) -> Result<Self, ProcessError> {
        let failed = |error| ProcessError::of(pid, error);
        let text = fs::read_to_string(format!("{proc}/status")).map_err(failed)?;
        let status = Status::parse(&text).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        let namespace = File::open(format!("{proc}/ns/user"));
        let home = namespace.and_then(|file| Identity::of(&file)).map_err(failed)?;
        let may_bind_privileged = is_capable(&status, home, netns);
        Ok(Self { uid: status.fsuid, may_bind_privileged })
    }
}

/// What `/proc/PID/status` says of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    euid: u32,
    fsuid: u32,
    effective: u64,
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        // Real, effective, saved, file system.
        let mut uids = line("Uid:")?.split_ascii_whitespace().skip(1);
        let euid = uids.next()?.parse().ok()?;
        let fsuid = uids.nth(1)?.parse().ok()?;
        let effective = u64::from_str_radix(line("CapEff:")?.trim(), 16).ok()?;
        Some(Self { euid, fsuid, effective })
    }

    fn has_capability(&self) -> bool {
        self.effective >> CAP_NET_BIND_SERVICE & 1 == 1
    }
}

/// A namespace, whichever file it was reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// security/commoncap.c, `cap_capable`: a capability counts in the process's own user namespace and those within it; who
/// made a namespace has every one in it.
fn is_capable(status: &Status, home: Identity, netns: BorrowedFd<'_>) -> bool {
    let mut namespace = related(netns, NS_GET_USERNS);
    for _ in 0..DEPTH {
        // Namespaces around this process's own are not shown to it.
        let Ok(current) = namespace else { return false };
        if Identity::of(&current).is_ok_and(|identity| identity == home) {
            return status.has_capability();
        }
        let parent = related(current.as_fd(), NS_GET_PARENT);
        let made_here =
            parent.as_ref().is_ok_and(|parent| Identity::of(parent).is_ok_and(|identity| identity == home));
        if made_here && owner(&current).is_ok_and(|owner| owner == status.euid) {
            return true;
        }
        namespace = parent;
    }
    false
}

fn related(namespace: BorrowedFd<'_>, which: libc::Ioctl) -> io::Result<File> {
    // SAFETY: these requests take no argument and give a new descriptor, or none.
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), which) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn owner(user_namespace: &File) -> io::Result<u32> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: the request writes one uid_t, to where `uid` lives.
    let done = unsafe { libc::ioctl(user_namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut uid) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(uid) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::netns::Netns;

    #[test]
    fn credentials_are_read_from_their_columns() {
        let text = "Name:\tx\nUid:\t1\t2\t3\t4\nCapPrm:\t0\nCapEff:\t0000000000000400\n";
        let status = Status::parse(text).unwrap();
        assert_eq!(status, Status { euid: 2, fsuid: 4, effective: 0x400 });
        assert!(status.has_capability());
        assert!(!Status { effective: !0x400, ..status }.has_capability());
        for wrong in
            ["", "Uid:\t1\t2\t3\nCapEff:\t0\n", "Uid:\t1\t2\t3\t4\nCapEff:\tx\n", "Uid:\t1\t2\t3\t4\n"]
        {
            assert_eq!(Status::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn this_process_is_as_capable_as_it_says() {
        let netns = Netns::own().unwrap();
        let asker = Asker::of_this_process(netns.as_fd()).unwrap();
        let root = nix::unistd::geteuid().is_root();
        assert_eq!(asker.uid == 0, root);
        assert_eq!(asker.may_bind_privileged, root, "privileged ports here are root's");
        assert_eq!(Asker::of_uid(33), Asker { uid: 33, may_bind_privileged: false });
    }

    #[test]
    fn a_process_that_is_gone_has_no_credentials() {
        let netns = Netns::own().unwrap();
        let error = Asker::of_process(0, netns.as_fd()).unwrap_err().to_string();
        assert_eq!(error, "there is no such process");
    }
}
