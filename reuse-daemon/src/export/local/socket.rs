//! The socket's file: made with its mode, never taken from a daemon that lives, removed at the end.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::socket::{getsockopt, sockopt::PeerCredentials},
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::protocol::DEFAULT_PATH;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// Owner alone: who may ask sees command lines.
const MODE: libc::mode_t = 0o600;

/// Why the local socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there
    #[error(
        "another daemon{} serves {}: stop it, or give this one a path of its own with --socket",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), path.display()
    )]
    Taken {
        /// The path
        path: PathBuf,
        /// The other's process id, where it is known
        pid: Option<i32>,
    },
    /// Nowhere to put it
    #[error(
        "the directory {} does not exist, so {} cannot be made in it: make it first, or give another path with --socket",
        directory.display(), path.display()
    )]
    NoDirectory {
        /// The directory
        directory: PathBuf,
        /// The path
        path: PathBuf,
    },
    /// Something else is there
    #[error("{} is there and no socket: move it away, or give another path with --socket", .0.display())]
    NoSocket(PathBuf),
    /// The kernel refuses
    #[error(
        "cannot {act} {}: {reason}; give a path that the daemon may write with --socket", path.display()
    )]
    Refused {
        /// What was tried
        act: &'static str,
        /// On what
        path: PathBuf,
        /// Why not
        reason: io::Error,
    },
}

/// A listening socket with its file.
#[derive(Debug)]
pub struct LocalSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Held as long as the daemon lives: who gets it knows that any file of the socket is left behind by a dead one
    _lock: Flock<File>,
}

impl LocalSocket {
    /// Listens at `path`. The directory of the usual path is made where it is missing, no other: that is a mistyped path.
    /// A file left behind by a daemon that was killed is replaced.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        Self::bind_with(path, Path::new(DEFAULT_PATH))
    }

    fn bind_with(path: &Path, usual: &Path) -> Result<Self, SocketError> {
        let refused = |act, path: &Path| {
            let path = path.to_owned();
            move |reason| SocketError::Refused { act, path, reason }
        };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            if usual.parent() == Some(directory) {
                let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
                made.map_err(refused("make the directory", directory))?;
            } else if !directory.exists() {
                return Err(SocketError::NoDirectory {
                    directory: directory.to_owned(),
                    path: path.to_owned(),
                });
            }
        }
        let lock = lock(path)?;
        remove_stale(path)?;
        let listener = listen(path).map_err(refused("listen on", path))?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// Takes the lock beside the socket, which no two daemons have. Its file stays: removing it would let a third lock
/// another file of the same name.
fn lock(path: &Path) -> Result<Flock<File>, SocketError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let beside = PathBuf::from(name);
    // Nobody else may open it: a lock can be held by whoever can.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&beside)
        .map_err(|reason| SocketError::Refused { act: "open", path: beside.clone(), reason })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => {
            SocketError::Taken { path: path.to_owned(), pid: answering(path).ok().flatten() }
        }
        errno => SocketError::Refused { act: "lock", path: beside, reason: errno.into() },
    })
}

/// Removes what a dead daemon left; whoever answers without having the lock is let alone as well.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    if let Ok(pid) = answering(path) {
        return Err(SocketError::Taken { path: path.to_owned(), pid });
    }
    fs::remove_file(path).map_err(|reason| SocketError::Refused {
        act: "remove what is left of",
        path: path.to_owned(),
        reason,
    })
}

/// The process that listens at `path`, where one does.
fn answering(path: &Path) -> io::Result<Option<i32>> {
    let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A daemon whose backlog is full answers all the same.
    client.set_nonblocking(true)?;
    match client.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(getsockopt(&client, PeerCredentials).ok().map(|peer| peer.pid())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file has its mode before anyone can connect: `bind` gives it the mode of the socket's own inode
/// (net/unix/af_unix.c, `unix_bind_bsd`), less the umask.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // SAFETY: changes the mode of a socket that nobody else has.
    if unsafe { libc::fchmod(socket.as_raw_fd(), MODE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt as _, net::UnixStream};

    use super::*;
    use crate::owner::scratch::Directory;

    #[test]
    fn made_for_its_owner_alone_and_removed_at_the_end() {
        let directory = Directory::new();
        let path = directory.path("new/api.sock");
        let socket = LocalSocket::bind_with(&path, &path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o755));
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn the_directory_of_a_mistyped_path_is_not_made() {
        let directory = Directory::new();
        let path = directory.path("mistyped/api.sock");
        let error = LocalSocket::bind(&path).expect_err("no directory").to_string();
        let missing = format!("the directory {} does not exist", directory.path("mistyped").display());
        assert!(error.starts_with(&missing) && error.contains("--socket"), "{error}");
        assert!(!directory.path("mistyped").exists());
    }

    #[test]
    fn a_living_daemon_keeps_it() {
        let directory = Directory::new();
        let path = directory.path("api.sock");
        let first = LocalSocket::bind(&path).unwrap();
        let error = LocalSocket::bind(&path).expect_err("taken").to_string();
        let own = format!("another daemon (process {}) serves {}", std::process::id(), path.display());
        assert!(error.starts_with(&own) && error.contains("--socket"), "{error}");
        assert!(UnixStream::connect(&path).is_ok(), "not disturbed");
        drop(first);
        drop(LocalSocket::bind(&path).unwrap());
    }

    #[test]
    fn one_that_listens_without_the_lock_keeps_it_too() {
        let directory = Directory::new();
        let path = directory.path("api.sock");
        let _other = UnixListener::bind(&path).unwrap();
        assert!(matches!(LocalSocket::bind(&path), Err(SocketError::Taken { .. })));
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn what_a_dead_daemon_left_is_replaced() {
        let directory = Directory::new();
        let path = directory.path("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists() && UnixStream::connect(&path).is_err(), "left behind");
        let _socket = LocalSocket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn what_is_no_socket_is_let_alone() {
        let directory = Directory::new();
        let path = directory.write("api.sock", "precious");
        let error = LocalSocket::bind(&path).expect_err("a file").to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let below = path.join("below");
        let error = LocalSocket::bind(&below).expect_err("no directory").to_string();
        assert!(error.contains("api.sock/below") && error.contains("--socket"), "{error}");
        let error = LocalSocket::bind_with(&below, &below).expect_err("no directory").to_string();
        assert!(error.contains("make the directory"), "{error}");
    }
}
