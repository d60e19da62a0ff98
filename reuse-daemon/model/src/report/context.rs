//! What a report needs from outside the model: names, times, and who will read it.

use std::sync::Arc;

use crate::{event::Moment, process::Process, socket::NetNs};

/// Who reads a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// The local socket, the commands: paths and command lines are shown
    Local,
    /// HTTP, events: they are not
    Network,
}

/// Answers what the kernel's numbers are called, in names that are safe to print.
pub trait Context {
    /// `host`, the name of the container, unit or `ip netns`, else `other`.
    fn netns_name(&self, netns: NetNs) -> Arc<str>;

    /// Name of a user, `None` where it has none.
    fn user_name(&self, uid: u32) -> Option<Arc<str>>;

    /// Arguments of a process, `None` where they cannot be read or are not to be shown. Asked for with
    /// [`View::Local`] alone.
    fn command_line(&self, process: &Process) -> Option<Vec<Vec<u8>>>;

    /// Whether the connections of a listener that closes go to another member of its group (`net.ipv4.tcp_migrate_req` of
    /// the namespace, Linux 5.14); `None` where that cannot be read.
    fn migrates(&self, _netns: NetNs) -> Option<bool> {
        None
    }

    /// Who reads the events: the operator decides whether they may carry paths and command lines.
    fn event_view(&self) -> View {
        View::Network
    }

    /// A moment as RFC 3339 with microseconds.
    fn time(&self, at: Moment) -> String;
}
