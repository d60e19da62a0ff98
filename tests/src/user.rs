//! Work under another user's id, on a thread of its own.

use std::thread;

use anyhow::{Result, bail};

/// The user without rights of every Linux: `nobody`.
pub const NOBODY: u32 = 65534;

/// Runs `work` on a thread whose real, effective, saved and file system user id are `uid`. Leaving uid 0 also takes the
/// thread's capabilities away.
///
/// # Errors
/// When the kernel refuses the change, or `work` fails.
///
/// # Panics
/// Passes on a panic of `work`.
pub fn run_as<T: Send>(uid: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            become_user(uid)?;
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Changes the calling thread's user ids for good: only for threads that end with their work.
///
/// # Errors
/// When the kernel refuses.
pub fn become_user(uid: u32) -> Result<()> {
    // SAFETY: the call takes three plain numbers. It is made raw because libc's wrapper changes every thread.
    let outcome = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    if outcome != 0 {
        bail!("setresuid({uid}): {}", std::io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_one_thread_only() {
        let before = nix::unistd::geteuid();
        if !before.is_root() {
            crate::skip::skip("changing the user id needs root");
            return;
        }
        let inside = run_as(NOBODY, || Ok(nix::unistd::geteuid().as_raw())).expect("root may become anyone");
        assert_eq!(inside, NOBODY);
        assert_eq!(nix::unistd::geteuid(), before);
    }
}
