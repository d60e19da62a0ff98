//! Who has a port of the daemon's own network namespace, for the daemon's own refused binds.

use std::{collections::HashMap, fmt, net::SocketAddr};

use procfs::{
    ProcResult, net,
    process::{FDTarget, Process, all_processes},
};
use reuse_model::{endpoint::Transport, text::escape};

/// Most processes named in one sentence.
const NAMED: usize = 4;

/// Who has a port, as far as procfs tells: it lists no TCP socket that is bound and does not listen
/// (`tcp_get_idx` walks listeners and the established table, Linux 6.18).
#[derive(Debug, Default)]
pub struct PortHolders {
    /// Addresses of the sockets on the port
    pub addresses: Vec<SocketAddr>,
    /// Processes that have one of them open: pid and comm, escaped
    pub processes: Vec<(i32, String)>,
}

impl PortHolders {
    /// Looks the port up in both families; what cannot be read is left out.
    #[must_use]
    pub fn of(transport: Transport, port: u16) -> Self {
        let sockets: Vec<_> = match transport {
            Transport::Tcp => listed(net::tcp(), |entry| (entry.local_address, entry.inode))
                .chain(listed(net::tcp6(), |entry| (entry.local_address, entry.inode)))
                .filter(|(local, _)| local.port() == port)
                .collect(),
            Transport::Udp => listed(net::udp(), |entry| (entry.local_address, entry.inode))
                .chain(listed(net::udp6(), |entry| (entry.local_address, entry.inode)))
                .filter(|(local, _)| local.port() == port)
                .collect(),
        };
        let inodes: Vec<u64> = sockets.iter().map(|(_, inode)| *inode).filter(|inode| *inode != 0).collect();
        let mut addresses: Vec<_> = sockets.into_iter().map(|(local, _)| local).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let processes = if inodes.is_empty() { Vec::new() } else { owners(&inodes) };
        Self { addresses, processes }
    }
}

fn listed<E>(
    entries: ProcResult<Vec<E>>,
    identity: impl Fn(E) -> (SocketAddr, u64),
) -> impl Iterator<Item = (SocketAddr, u64)> {
    entries.unwrap_or_default().into_iter().map(identity)
}

fn owners(inodes: &[u64]) -> Vec<(i32, String)> {
    let mut found = HashMap::new();
    for process in all_processes().into_iter().flatten().flatten() {
        if has_open(&process, inodes) {
            let comm =
                process.stat().map(|stat| escape(stat.comm.as_bytes()).into_owned()).unwrap_or_default();
            found.insert(process.pid(), comm);
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable();
    found
}

fn has_open(process: &Process, inodes: &[u64]) -> bool {
    let descriptors = process.fd().into_iter().flatten().flatten();
    descriptors
        .into_iter()
        .any(|descriptor| matches!(descriptor.target, FDTarget::Socket(inode) if inodes.contains(&inode)))
}

impl fmt::Display for PortHolders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.processes.as_slice() {
            [] if self.addresses.is_empty() => {
                return f.write_str("a socket that is bound but does not listen, or a closed connection");
            }
            [] => f.write_str("a socket without a process that can be seen")?,
            processes => {
                for (index, (pid, comm)) in processes.iter().take(NAMED).enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{comm} (pid {pid})")?;
                }
                if processes.len() > NAMED {
                    write!(f, " and {} more", processes.len() - NAMED)?;
                }
            }
        }
        if let Some(address) = self.addresses.first() {
            write!(f, " at {address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn this_process_is_found_by_its_listener() {
        let listener = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        let local = listener.local_addr().unwrap();
        let holders = PortHolders::of(Transport::Tcp, local.port());
        assert!(holders.addresses.contains(&local), "{holders:?}");
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(holders.processes.iter().any(|(pid, _)| *pid == own), "{holders:?}");
        assert!(holders.to_string().contains(&format!("(pid {own})")), "{holders}");
    }

    #[test]
    fn this_process_is_found_by_its_udp_socket() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let holders = PortHolders::of(Transport::Udp, local.port());
        assert!(holders.addresses.contains(&local), "{holders:?}");
        assert_eq!(holders.processes.len(), 1, "{holders:?}");
    }

    #[test]
    fn nobody_seen_is_said_so() {
        let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = bound.local_addr().unwrap().as_socket().unwrap().port();
        let holders = PortHolders::of(Transport::Tcp, port);
        assert!(holders.processes.is_empty(), "{holders:?}");
        assert!(holders.to_string().contains("does not listen"), "{holders}");
    }
}
