//! What numbers are called, for the reports.

use std::{cell::RefCell, sync::Arc, time::Instant};

use reuse_model::{
    ephemeral::EphemeralPorts,
    event::Moment,
    process::Process,
    report::{Context, View},
    socket::NetNs,
};

use super::{namespaces::Namespaces, sysctls::Sysctls, users::Users};
use crate::clock::Clock;

/// Names of namespaces and users, and wall time. Looking one up may read a file, which the reports need not know.
pub(crate) struct Names {
    namespaces: RefCell<Namespaces>,
    users: RefCell<Users>,
    sysctls: RefCell<Sysctls>,
    clock: Clock,
    event_view: View,
}

impl Names {
    pub(crate) fn of_this_host(event_view: View) -> Self {
        Self {
            namespaces: RefCell::new(Namespaces::new("/proc", "/run/netns")),
            users: RefCell::new(Users::new("/etc/passwd")),
            sysctls: RefCell::new(Sysctls::new("/proc")),
            clock: Clock::default(),
            event_view,
        }
    }

    /// Takes in that a process has a socket of that namespace.
    pub(crate) fn inhabit(&self, netns: NetNs, process: &Process) {
        self.namespaces.borrow_mut().inhabit(netns, process);
        self.sysctls.borrow_mut().inhabit(netns, process.pid);
    }

    /// The ports that the kernel gives away in a network namespace, `None` where that cannot be read. `residents` are processes
    /// that may live there.
    pub(crate) fn ephemeral_ports(
        &self,
        netns: NetNs,
        residents: impl IntoIterator<Item = u32>,
    ) -> Option<Arc<EphemeralPorts>> {
        self.sysctls.borrow_mut().ephemeral_ports(netns, Instant::now(), residents)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl Context for Names {
    fn netns_name(&self, netns: NetNs) -> Arc<str> {
        self.namespaces.borrow_mut().name(netns, Instant::now())
    }

    fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        self.users.borrow_mut().name(uid, Instant::now())
    }

    fn command_line(&self, process: &Process) -> Option<Vec<Vec<u8>>> {
        let bytes = std::fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
        let arguments = bytes.strip_suffix(&[0]).unwrap_or(&bytes).split(|byte| *byte == 0);
        Some(arguments.map(<[u8]>::to_vec).collect())
            .filter(|arguments: &Vec<Vec<u8>>| !bytes.is_empty() && !arguments.is_empty())
    }

    fn migrates(&self, netns: NetNs) -> Option<bool> {
        self.sysctls.borrow_mut().migrates(netns, Instant::now())
    }

    fn event_view(&self) -> View {
        self.event_view
    }

    fn time(&self, at: Moment) -> String {
        self.clock.rfc3339(at)
    }
}
