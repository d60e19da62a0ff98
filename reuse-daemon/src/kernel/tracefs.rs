//! tracefs, where tracepoints get their numbers and say what their records look like; needed only while attaching.

mod format;

use std::{fs, io, path::Path};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

const TRACING: &str = "/sys/kernel/tracing";
const PLACES: [&str; 2] = [TRACING, "/sys/kernel/debug/tracing"];

/// Offset in bytes of the result in the record of a system call's exit; mounts tracefs for the look if need be.
///
/// # Errors
/// No tracefs, no such event, or a record that cannot be read, in words.
pub(super) fn exit_result() -> Result<u32, String> {
    let _mounted =
        Mounted::ensure().map_err(|error| format!("tracefs is not mounted at {TRACING}: {error}"))?;
    let format = Path::new("events/syscalls/sys_exit_bind/format");
    let mut texts = PLACES.iter().map(|place| fs::read_to_string(Path::new(place).join(format)));
    let text = texts.find_map(Result::ok).ok_or("tracefs has no syscalls tracepoints")?;
    format::exit_result(&text).map_err(|error| error.to_string())
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
