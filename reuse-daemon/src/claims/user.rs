//! Doing something as another user.

use std::{io, thread};

use anyhow::Context as _;
use nix::unistd::{Uid, setfsuid};

/// `nobody`, who has nothing to do with whoever runs this.
pub(super) const STRANGER: u32 = 65_534;

/// Does `work` in a thread whose file-system uid is `uid`: what a socket that it makes takes as its own (net/socket.c,
/// `sock_alloc`). Other threads keep theirs.
pub(super) fn as_user<T: Send>(
    uid: u32,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let done = thread::scope(|scope| {
        scope
            .spawn(|| {
                setfsuid(Uid::from_raw(uid));
                // It has no error: asking for an impossible one gives what it is.
                if setfsuid(Uid::from_raw(u32::MAX)).as_raw() != uid {
                    return Err(io::Error::from(io::ErrorKind::PermissionDenied))
                        .with_context(|| format!("cannot make sockets as uid {uid}: it takes CAP_SETUID"));
                }
                work()
            })
            .join()
    });
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
