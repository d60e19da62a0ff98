//! tracefs, where tracepoints get their numbers; needed only while attaching.

use std::{io, path::Path};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

const TRACING: &str = "/sys/kernel/tracing";
const PLACES: [&str; 2] = [TRACING, "/sys/kernel/debug/tracing"];

/// Whether an event exists; mounts tracefs for the look if need be.
pub(super) fn has_event(category: &str, name: &str) -> bool {
    let Ok(_mounted) = Mounted::ensure() else { return false };
    PLACES.iter().any(|place| Path::new(place).join("events").join(category).join(name).join("id").exists())
}

/// tracefs is reachable while this lives. A mount made for it goes with it: nothing on the host is left changed.
pub(super) struct Mounted {
    ours: bool,
}

impl Mounted {
    /// Finds tracefs or mounts it at its usual place.
    ///
    /// # Errors
    /// It is not mounted and cannot be.
    pub(super) fn ensure() -> io::Result<Self> {
        if PLACES.iter().any(|place| Path::new(place).join("events").exists()) {
            return Ok(Self { ours: false });
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("tracefs"), TRACING, Some("tracefs"), flags, None::<&str>)?;
        log::debug!("tracefs was not mounted; mounted at {TRACING} while attaching");
        Ok(Self { ours: true })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = umount2(TRACING, MntFlags::MNT_DETACH)
        {
            log::warn!("cannot unmount {TRACING} again: {error}");
        }
    }
}
