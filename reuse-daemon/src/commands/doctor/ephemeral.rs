//! Advice: listeners on ports that the kernel gives away to connections. It cannot while they listen, but while they are down,
//! and their next start is then refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use reuse_model::{
    ephemeral::{EphemeralPorts, relies_on_its_port},
    event::Snapshot,
    inventory::{Inventory, Limits, Socket},
    process::{Process, executable_name},
    report::{Context, View},
    socket::NetNs,
};
use serde::Serialize;

use crate::owner::{names::Names, processes::ProcessTable};

/// A listener, once for all sockets at its address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Listener {
    /// Inode number of its network namespace
    pub(super) netns: u32,
    pub(super) netns_name: Arc<str>,
    pub(super) port: u16,
    pub(super) protocol: &'static str,
    pub(super) address: IpAddr,
    /// `null` where no process has it open
    pub(super) service: Option<Arc<str>>,
    pub(super) remedy: String,
}

/// The listeners of a snapshot, those of one namespace beside each other. What the ports were asked for by is not known here:
/// UDP sockets are left out, and a TCP listener whose port the kernel chose is among them.
pub(super) fn look(snapshot: &Snapshot) -> Vec<Listener> {
    let mut inventory = Inventory::new(Limits::default());
    inventory.reconcile(snapshot, &mut ProcessTable::new("/proc", [std::process::id()]));
    let names = Names::of_this_host(View::Local);
    listeners(inventory.iter().map(Arc::as_ref), &names, |netns, pids| names.ephemeral_ports(netns, pids))
}

fn listeners<'a>(
    sockets: impl Iterator<Item = &'a Socket>,
    names: &dyn Context,
    given: impl Fn(NetNs, Vec<u32>) -> Option<Arc<EphemeralPorts>>,
) -> Vec<Listener> {
    let mut by_namespace: BTreeMap<NetNs, Vec<&Socket>> = BTreeMap::new();
    for socket in sockets.filter(|socket| relies_on_its_port(socket) && !is_a_daemons(socket)) {
        by_namespace.entry(socket.facts.netns).or_default().push(socket);
    }
    let mut found = BTreeSet::new();
    for (netns, mut sockets) in by_namespace {
        let residents = sockets.iter().flat_map(|socket| &socket.owners).map(|owner| owner.process.pid);
        let Some(given) = given(netns, residents.collect()) else { continue };
        sockets.retain(|socket| given.gives_away(socket.facts.local.port));
        let remedy = remedy(&given, sockets.iter().map(|socket| socket.facts.local.port));
        found.extend(sockets.into_iter().map(|socket| Listener {
            netns: netns.0,
            netns_name: names.netns_name(netns),
            port: socket.facts.local.port,
            protocol: socket.facts.protocol.as_str(),
            address: socket.facts.local.address,
            service: socket.owners.first().map(|owner| Arc::clone(&owner.process.service)),
            remedy: remedy.clone(),
        }));
    }
    found.into_iter().collect()
}

/// Whether it is one of a daemon that runs: its test group has ports that the kernel chose.
fn is_a_daemons(socket: &Socket) -> bool {
    let own = std::env::current_exe().ok();
    let own = own.map(|path| executable_name(path.as_os_str().as_encoded_bytes()));
    let is = |process: &Process| Some(&process.executable) == own.as_ref();
    socket.owners.iter().any(|owner| is(&owner.process))
}

/// What mends it for all of these ports of a namespace.
fn remedy(given: &EphemeralPorts, ports: impl Iterator<Item = u16>) -> String {
    let (first, last) = given.bounds();
    format!(
        "in its network namespace `sysctl -w net.ipv4.ip_local_reserved_ports={}` (and in /etc/sysctl.d), or a port outside of \
         {first}-{last}",
        given.reserved_with(ports)
    )
}

#[cfg(test)]
mod tests {
    use reuse_model::{
        endpoint::{Endpoint, Family, Protocol},
        event::{Comm, Moment},
        inventory::Owner,
        socket::{Cookie, Flags, Inode, SocketFacts, State},
    };

    use super::*;

    fn listener(inode: u64, port: u16, netns: u32, executable: &str) -> Socket {
        let facts = SocketFacts {
            inode: Inode(inode),
            cookie: Cookie(inode),
            netns: NetNs(netns),
            netns_cookie: 0,
            family: Family::Ipv4,
            protocol: Protocol::Tcp,
            local: Endpoint { address: IpAddr::from([0, 0, 0, 0]), port },
            state: State::Listen,
            flags: Flags::default(),
            device: None,
            uid: 0,
            creator: None,
            forced: false,
            multicast: Vec::new(),
            queue: 0,
            queue_limit: 0,
            drops: 0,
            group: None,
        };
        let mut process = Process::from_comm(7, Comm::default(), 0);
        (process.executable, process.service) = (executable.into(), executable.into());
        let owner =
            Owner { process: Arc::new(process), comm: Comm::default(), fds: vec![3], seen: Moment(1) };
        Socket { owners: vec![owner], ..Socket::found(facts, Moment(1)) }
    }

    struct Nameless;

    impl Context for Nameless {
        fn netns_name(&self, _: NetNs) -> Arc<str> {
            "other".into()
        }
        fn user_name(&self, _: u32) -> Option<Arc<str>> {
            None
        }
        fn command_line(&self, _: &Process) -> Option<Vec<Vec<u8>>> {
            None
        }
        fn time(&self, _: Moment) -> String {
            String::new()
        }
    }

    #[test]
    fn each_listener_of_the_range_is_there_once_with_what_mends_all_of_its_namespace() {
        let own = std::env::current_exe().expect("a path");
        let own = executable_name(own.as_os_str().as_encoded_bytes());
        let sockets = [
            listener(1, 40000, 1, "web"),
            listener(2, 40000, 1, "web"),
            listener(3, 39000, 1, "cache"),
            listener(4, 8080, 1, "web"),
            listener(5, 40001, 1, &own),
            listener(6, 40000, 2, "reserved"),
            listener(7, 40000, 3, "unknown"),
        ];
        let given = |netns: NetNs, pids: Vec<u32>| {
            assert!(pids.iter().all(|pid| *pid == 7));
            let reserved = ["8000-8001", "40000"].get(netns.0 as usize - 1)?;
            EphemeralPorts::parse("32768 60999", reserved).map(Arc::new)
        };
        let found = listeners(sockets.iter(), &Nameless, given);
        let shown: Vec<_> =
            found.iter().map(|listener| (listener.port, listener.service.as_deref())).collect();
        assert_eq!(shown, [(39000, Some("cache")), (40000, Some("web"))]);
        for listener in &found {
            assert!(
                listener.remedy.contains("ip_local_reserved_ports=8000-8001,39000,40000`"),
                "{}",
                listener.remedy
            );
            assert!(listener.remedy.ends_with("32768-60999"), "{}", listener.remedy);
        }
    }
}
