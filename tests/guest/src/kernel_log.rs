//! The kernel's own log: what it complained about while a test ran is that test's failure. An oops ends the machine and
//! needs no look here.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
};

use anyhow::{Context as _, Result};

const LOG: &str = "/dev/kmsg";

/// How complaints begin: warnings (`lib/bug.c`, `kernel/panic.c` `__warn`), corrupted state (`kernel/locking`, `mm`), tasks
/// and CPUs that hang (`kernel/hung_task.c`, `kernel/watchdog.c`, `kernel/rcu/tree_stall.h`).
const COMPLAINTS: &[&str] = &["WARNING: ", "BUG: ", "watchdog: BUG", "INFO: task ", "rcu: INFO: rcu_"];

/// The log from now on.
#[derive(Debug)]
pub(crate) struct KernelLog(File);

impl KernelLog {
    /// Opens it and passes over what there is of the boot.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn open() -> Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(LOG).context(LOG)?;
        let mut log = Self(file);
        log.complaints();
        Ok(log)
    }

    /// The complaints since the last time.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        // A read gives one record whole (Documentation/ABI/testing/dev-kmsg).
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
                    found.extend(complaint(&text));
                }
                // Records were overwritten before they were read: the next read gives the oldest that is left.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => return found,
            }
        }
    }
}

/// `priority,number,time,flags;message`, with further lines for properties.
fn complaint(record: &str) -> Option<String> {
    let (_, message) = record.lines().next()?.split_once(';')?;
    COMPLAINTS.iter().any(|start| message.starts_with(start)).then(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_from_other_messages() {
        let warning = "4,1021,5140900,-;WARNING: CPU: 0 PID: 9 at net/core/x.c:1 f+0x1/0x2\n SUBSYSTEM=net\n";
        assert_eq!(complaint(warning).as_deref(), Some("WARNING: CPU: 0 PID: 9 at net/core/x.c:1 f+0x1/0x2"));
        assert!(complaint("3,7,1,-;rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:").is_some());
        assert_eq!(complaint("6,1,0,-;veth: a device; WARNING: not at the start"), None);
        assert_eq!(complaint("nothing of the kind"), None);
    }
}
