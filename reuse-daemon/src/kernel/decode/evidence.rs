//! What a refusal depended on: the record behind a refused call.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use reuse_ebpf::record::{CallRecord, EvidenceRecord, OCCUPANTS_MAX, OccupantRecord, Table as RawTable};
use reuse_model::{
    endpoint::{Family, Protocol},
    event::{Circumstances, Evidence},
    port::{Bucket, FastAddress, Occupant, Port, Reuse, Table, Tenure, UdpScan},
    socket::{Cookie, Inode, State},
};

use super::{AF_INET, Decoder, Wire as _, rows, state};

impl Decoder {
    /// The evidence behind a call; `None` where there is none.
    pub(super) fn evidence(&self, call: &CallRecord, bytes: &[u8]) -> Option<Arc<Evidence>> {
        let record = EvidenceRecord::read(bytes)?;
        let occupants = bytes.get(size_of::<EvidenceRecord>()..).unwrap_or_default();
        let reuse = call.socket.common.get(self.layout.reuse / 8).copied().unwrap_or(0);
        Some(Arc::new(Evidence {
            circumstances: (record.has_circumstances != 0).then(|| Circumstances {
                seccomp_filter: record.seccomp != 0,
                cgroup_program: record.cgroup_program != 0,
                may_bind_privileged: record.may_bind_privileged != 0,
                unprivileged_port_start: u16::try_from(record.unprivileged_port_start).unwrap_or(u16::MAX),
            }),
            reuse: self.reuse(reuse),
            in_group: record.in_group != 0,
            group_has_closed: record.group_has_closed != 0,
            subflow_uid: (record.has_subflow != 0).then_some(record.subflow_uid),
            port: self.port(&record, occupants).map(|port| without_own(port, call.socket.inode)),
        }))
    }

    fn port(&self, record: &EvidenceRecord, occupants: &[u8]) -> Option<Port> {
        let (table, protocol) = table(record)?;
        let count = (record.occupants as usize).min(OCCUPANTS_MAX);
        let mut occupants: Vec<_> = rows::<OccupantRecord>(occupants)
            .take(count)
            .map(|occupant| self.occupant(&occupant, protocol))
            .collect();
        // Fewer than the record says are no whole record.
        let truncated = record.truncated != 0 || occupants.len() < record.occupants as usize;
        if protocol == Protocol::Tcp {
            // Where listeners cannot all be looked up by address, some are found among the other owners.
            occupants.sort_by_key(|occupant| occupant.state != State::Listen);
        }
        Some(Port { table, occupants, truncated, disturbed: record.disturbed != 0 })
    }

    fn occupant(&self, record: &OccupantRecord, protocol: Protocol) -> Occupant {
        let state = state(record.state);
        let family = if record.family == AF_INET { Family::Ipv4 } else { Family::Ipv6 };
        let time_wait = state == State::TimeWait;
        let held = record.held != 0;
        Occupant {
            family,
            address: address(family, record.address),
            protocol,
            state,
            reuse: self.reuse(record.bits),
            reuseport: self.has_bit(record.bits, self.layout.reuseport),
            v6only: self.has_bit(record.bits, self.layout.v6only),
            device: record.device,
            uid: (!time_wait).then_some(record.uid),
            inode: Inode(record.inode),
            cookie: Cookie(record.cookie),
            tenure: match state {
                _ if held => Tenure::Held,
                // A process that closes a connection takes it out of this state.
                State::Connected => Tenure::Unaccepted,
                _ => Tenure::Orphan,
            },
            kernel: held && !self.has_bit(record.bits, self.layout.net_refcnt),
            expires_in: time_wait.then(|| self.tick.saturating_mul(record.expires_ticks)),
        }
    }

    /// SO_REUSEADDR from the byte it shares with its neighbours.
    fn reuse(&self, byte: u8) -> Reuse {
        match byte >> (self.layout.reuse % 8) & 0xf {
            0 => Reuse::No,
            1 => Reuse::Yes,
            _ => Reuse::Forced,
        }
    }

    /// A bit of that same byte.
    fn has_bit(&self, byte: u8, bit: usize) -> bool {
        bit / 8 == self.layout.reuse / 8 && byte >> (bit % 8) & 1 != 0
    }
}

/// The port without the socket that asks. The walk leaves it out, but an MPTCP socket's port is held by its subflow, which
/// has its inode number (net/mptcp/subflow.c, `mptcp_subflow_create_socket`).
fn without_own(mut port: Port, asking: u64) -> Port {
    port.occupants.retain(|occupant| asking == 0 || occupant.inode.0 != asking);
    port
}

fn table(record: &EvidenceRecord) -> Option<(Table, Protocol)> {
    const TCP_EMPTY: u8 = RawTable::TcpEmpty as u8;
    const TCP: u8 = RawTable::Tcp as u8;
    const UDP_PORT: u8 = RawTable::UdpPort as u8;
    const UDP_ADDRESS: u8 = RawTable::UdpAddress as u8;
    let udp = |scan| (Table::Udp { scan, slot: record.slot }, Protocol::Udp);
    match record.table {
        TCP_EMPTY => Some((Table::Tcp(None), Protocol::Tcp)),
        TCP => Some((Table::Tcp(Some(bucket(record))), Protocol::Tcp)),
        UDP_PORT => Some(udp(UdpScan::Port)),
        UDP_ADDRESS => Some(udp(UdpScan::Address)),
        _ => None,
    }
}

fn bucket(record: &EvidenceRecord) -> Bucket {
    let (family, address) = if record.fast_family == AF_INET {
        (Family::Ipv4, IpAddr::V4(Ipv4Addr::from(record.fast_rcv_saddr)))
    } else {
        (Family::Ipv6, IpAddr::V6(Ipv6Addr::from(record.fast_v6_rcv_saddr)))
    };
    Bucket {
        fastreuse: record.fastreuse.cast_signed(),
        fastreuseport: record.fastreuseport.cast_signed(),
        fastuid: record.fastuid,
        fast_address: FastAddress { family, address, v6only: record.fast_v6only != 0 },
        wildcard_family: match u16::from(record.wildcard_family) {
            0 => None,
            AF_INET => Some(Family::Ipv4),
            _ => Some(Family::Ipv6),
        },
    }
}

fn address(family: Family, bytes: [u8; 16]) -> IpAddr {
    let address = Ipv6Addr::from(bytes);
    match (family, address.to_ipv4_mapped()) {
        (Family::Ipv4, Some(v4)) => IpAddr::V4(v4),
        _ => IpAddr::V6(address),
    }
}

#[cfg(test)]
mod tests {
    use reuse_model::{
        endpoint::Endpoint,
        socket::{Flags, NetNs, SocketFacts},
    };

    use super::*;

    fn occupant(inode: u64) -> Occupant {
        Occupant::of(&SocketFacts {
            inode: Inode(inode),
            cookie: Cookie(0),
            netns: NetNs(1),
            netns_cookie: 0,
            family: Family::Ipv4,
            protocol: Protocol::Tcp,
            local: Endpoint { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 80 },
            state: State::Bound,
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
        })
    }

    #[test]
    fn the_bucket_of_all_ipv4_addresses_has_a_family_where_the_kernel_keeps_one() {
        const AF_INET6: u8 = libc::AF_INET6 as u8;
        for (family, expected) in
            [(0, None), (AF_INET as u8, Some(Family::Ipv4)), (AF_INET6, Some(Family::Ipv6))]
        {
            let mut bytes = [0; size_of::<EvidenceRecord>()];
            bytes[std::mem::offset_of!(EvidenceRecord, wildcard_family)] = family;
            let record = EvidenceRecord::read(&bytes).expect("a whole record");
            assert_eq!(bucket(&record).wildcard_family, expected);
        }
    }

    #[test]
    fn an_mptcp_socket_is_not_in_its_own_way() {
        let occupants = vec![occupant(0), occupant(5), occupant(6)];
        let port = Port { table: Table::Tcp(None), occupants, truncated: false, disturbed: false };
        let rest = without_own(port.clone(), 5);
        let inodes: Vec<_> = rest.occupants.iter().map(|occupant| occupant.inode.0).collect();
        assert_eq!(inodes, [0, 6]);
        assert_eq!(without_own(port.clone(), 0), port, "no inode number is nobody's");
    }
}
