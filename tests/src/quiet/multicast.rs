//! A segment with two devices, and responders of our own on a multicast port.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{script::Script, stage::Stage};
use crate::{namespace::Namespace, servers::Running};

/// Two users without rights, beside the system's own.
pub(super) const USERS: [u32; 2] = [1000, 1001];

/// A multicast port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    pub(super) port: u16,
    /// The groups of IPv4 and IPv6
    pub(super) groups: [&'static str; 2],
}

/// Which address a responder binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// That of its family that is any
    Any,
    /// The group's
    Group,
}

/// Makes a namespace with two devices that are connected, and routes for multicast.
pub(super) fn segment(stage: &Stage, purpose: &str) -> Result<Namespace> {
    let namespace = stage.namespace(purpose)?;
    // Addresses of IPv6 serve at once, instead of after a second in which nobody objected.
    namespace.run(|| {
        let path = "/proc/sys/net/ipv6/conf/default/accept_dad";
        fs::write(path, "0").context(path)
    })?;
    namespace.ip(&["link", "add", "left", "type", "veth", "peer", "name", "right"])?;
    for (device, address) in [("left", "10.9.0.1/24"), ("right", "10.9.0.2/24")] {
        namespace.ip(&["addr", "add", address, "dev", device])?;
        namespace.ip(&["link", "set", device, "up"])?;
    }
    namespace.ip(&["route", "add", "224.0.0.0/4", "dev", "left"])?;
    namespace.ip(&["-6", "route", "add", "multicast", "ff00::/8", "dev", "left", "table", "local"])?;
    Ok(namespace)
}

/// A process that asks and answers at a multicast port.
#[derive(Debug)]
pub(super) struct Responder {
    running: Running,
    output: PathBuf,
}

impl Responder {
    /// Starts it as this user's, and returns once it is bound.
    pub(super) fn start(
        script: &Script,
        namespace: &Namespace,
        Service { port, groups: [four, six] }: Service,
        uid: u32,
        bound: Bound,
    ) -> Result<Self> {
        let bound = if bound == Bound::Any { "any" } else { "group" };
        let output = script.beside(&format!("{port}-{uid}-{bound}"));
        let mut command = script.command();
        command.args([&port.to_string(), four, six, &uid.to_string(), bound]);
        let running = Running::start(namespace, &mut command, &output)?;
        let mut responder = Self { running, output };
        responder.until_said("bound")?;
        Ok(responder)
    }

    /// Waits until somebody else has asked it.
    pub(super) fn until_asked(&mut self) -> Result<()> {
        self.until_said("asked")
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<()> {
        self.running.end()
    }

    fn until_said(&mut self, word: &str) -> Result<()> {
        let output = &self.output;
        self.running.until(&format!("the responder says `{word}`"), || {
            let said = fs::read_to_string(output).context("what the responder says")?;
            Ok(said.lines().any(|line| line == word).then_some(()))
        })
    }
}
