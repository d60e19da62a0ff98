//! OWNER: a process that has a socket open.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Context, View};
use crate::{inventory::Owner, process::Process, text::escape};

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnerReport {
    /// Process id in the initial pid namespace
    pub pid: u32,
    /// Thread name at its last bind or listen, escaped
    pub comm: String,
    /// Name of the executable
    pub executable: Arc<str>,
    /// Path of the executable, escaped; left out over the network
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Arguments, escaped; left out over the network
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Vec<String>>,
    /// Effective uid
    pub uid: u32,
    /// Its name
    pub user: Option<Arc<str>>,
    /// Service
    pub service: Arc<str>,
    /// systemd unit
    pub unit: Option<Arc<str>>,
    /// Container
    pub container: Option<Arc<str>>,
    /// Pod
    pub pod: Option<Arc<str>>,
    /// Descriptors
    pub fds: Vec<u32>,
}

impl OwnerReport {
    /// The report of one owner.
    #[must_use]
    pub fn new(owner: &Owner, context: &dyn Context, view: View) -> Self {
        let process = &*owner.process;
        let local = view == View::Local;
        let exe = process.exe.as_ref().filter(|_| local);
        Self {
            pid: process.pid,
            comm: escape(owner.comm.as_bytes()).into_owned(),
            executable: Arc::clone(&process.executable),
            exe: exe.map(|path| escape(path).into_owned()),
            cmdline: command_line(process, context, view),
            uid: process.uid,
            user: context.user_name(process.uid),
            service: Arc::clone(&process.service),
            unit: process.unit.clone(),
            container: process.container.clone(),
            pod: process.pod.clone(),
            fds: owner.fds.clone(),
        }
    }
}

/// Arguments of a process, escaped; `None` where they are not for those who read.
pub(super) fn command_line(process: &Process, context: &dyn Context, view: View) -> Option<Vec<String>> {
    if view != View::Local {
        return None;
    }
    let words = context.command_line(process)?;
    Some(words.iter().map(|word| escape(word).into_owned()).collect())
}
