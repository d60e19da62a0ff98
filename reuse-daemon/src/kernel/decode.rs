//! From bytes to typed values. Total: any bytes give a value or a named error, never a panic.

mod evidence;
mod group;
mod touch;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use reuse_ebpf::{
    count::SelectionRow,
    group::RawGroup,
    record::{
        CallRecord, CloseRecord, ExecRecord, ExitRecord, ForkRecord, HoldingRecord, Kind, PassRecord,
        RawSocket, Way,
    },
};
use reuse_model::{
    endpoint::{Endpoint, Family, Protocol},
    event::{Call, Caller, Comm, Counter, Event, Holding, MemberCount, MemberGauges, Moment, Phase, Via},
    socket::{Cookie, Device, Flags, Inode, NetNs, SocketFacts, State},
};
use thiserror::Error;

use super::{bytes::Wire, layout::SocketLayout};

/// Bytes that are no record of ours.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than its kind
    #[error("record of {0} bytes is too short")]
    Short(usize),
    /// Unknown kind
    #[error("record of unknown kind {0}")]
    Kind(u32),
    /// A change of nothing that is known
    #[error("record of an unknown change {0}")]
    Touched(u8),
}

const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// include/net/sock.h
const SOCK_BINDPORT_LOCK: u8 = 8;
const SK_FORCE_REUSE: u8 = 2;

/// Decodes what the programs send, with the layout of this kernel.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    layout: SocketLayout,
    /// One tick of the kernel's timers
    tick: Duration,
}

impl Decoder {
    /// For a kernel of this layout, whose timers go by ticks of this length.
    #[must_use]
    pub fn new(layout: SocketLayout, tick: Duration) -> Self {
        Self { layout, tick }
    }

    /// One record of the ring.
    ///
    /// # Errors
    /// Bytes that no program of ours writes.
    pub fn event(&self, bytes: &[u8]) -> Result<Event, DecodeError> {
        let kind = u32::read(bytes).ok_or(DecodeError::Short(bytes.len()))?;
        let short = || DecodeError::Short(bytes.len());
        if let Some((phase, is_attempt)) = call_kind(kind) {
            let record = CallRecord::read(bytes).ok_or_else(short)?;
            let call = Box::new(self.call(phase, is_attempt, &record, bytes));
            return Ok(if is_attempt { Event::Attempt(call) } else { Event::Call(call) });
        }
        match kind {
            kind if kind == Kind::Close as u32 => {
                let record = CloseRecord::read(bytes).ok_or_else(short)?;
                let (inode, cookie) = (Inode(record.inode), Cookie(record.cookie));
                Ok(Event::Close { inode, cookie, drops: record.drops.into(), at: Moment(record.boottime_ns) })
            }
            kind if kind == Kind::Exit as u32 => {
                let record = ExitRecord::read(bytes).ok_or_else(short)?;
                Ok(Event::Exit { pid: record.pid, at: Moment(record.boottime_ns) })
            }
            kind if kind == Kind::Fork as u32 => {
                let ForkRecord { parent, child, boottime_ns, .. } =
                    ForkRecord::read(bytes).ok_or_else(short)?;
                Ok(Event::Fork { parent, child, at: Moment(boottime_ns) })
            }
            kind if kind == Kind::Exec as u32 => {
                let ExecRecord { pid, boottime_ns, .. } = ExecRecord::read(bytes).ok_or_else(short)?;
                Ok(Event::Exec { pid, at: Moment(boottime_ns) })
            }
            kind if kind == Kind::Touch as u32 => touch::event(bytes),
            kind if kind == Kind::Sent as u32 => {
                let PassRecord { pid, boottime_ns, inode, .. } = PassRecord::read(bytes).ok_or_else(short)?;
                Ok(Event::Sent { inode: Inode(inode), pid, at: Moment(boottime_ns) })
            }
            kind if kind == Kind::Took as u32 => {
                let PassRecord { pid, boottime_ns, .. } = PassRecord::read(bytes).ok_or_else(short)?;
                Ok(Event::Took { pid, at: Moment(boottime_ns) })
            }
            other => Err(DecodeError::Kind(other)),
        }
    }

    fn call(&self, phase: Phase, is_attempt: bool, record: &CallRecord, bytes: &[u8]) -> Call {
        let raw = &record.socket;
        let socket = (record.has_socket == 1).then(|| self.socket(raw)).flatten().map(|mut facts| {
            if is_attempt && phase == Phase::Listen {
                // The state is told before it changes.
                facts.state = State::Listen;
            }
            if facts.state == State::Listen {
                facts.queue_limit = u64::from(record.queue_limit);
            }
            facts
        });
        let ipv4 = socket.as_ref().is_some_and(|facts| facts.family == Family::Ipv4);
        let address = sockaddr(&record.requested, record.requested_len, ipv4);
        let requested = match (&socket, phase) {
            (Some(facts), Phase::Bind) if record.requested_len == 0 && record.result == 0 => {
                let asked = raw.userlocks & SOCK_BINDPORT_LOCK != 0;
                Some(Endpoint { port: if asked { facts.local.port } else { 0 }, ..facts.local })
            }
            (_, Phase::Bind) => address,
            (_, Phase::Listen | Phase::Connect | Phase::Send) => None,
        };
        Call {
            phase,
            via: via(record.way),
            certain: record.doubtful == 0,
            peer: address.filter(|peer| phase == Phase::Connect && peer.port != 0),
            errno: record.result.wrapping_neg(),
            at: Moment(record.boottime_ns),
            caller: Caller {
                pid: record.pid,
                tid: record.tid,
                comm: Comm(record.comm),
                uid: record.uid,
                cgroup: record.cgroup,
            },
            fd: record.fd,
            socket,
            requested,
            evidence: self.evidence(record, bytes.get(size_of::<CallRecord>()..).unwrap_or_default()),
        }
    }

    /// A socket of IPv4 or IPv6; `None` for other families.
    fn socket(&self, raw: &RawSocket) -> Option<SocketFacts> {
        let at = &self.layout;
        let common = &raw.common[..];
        let field = |offset: usize| common.get(offset..).unwrap_or_default();
        let bit = |bit: usize, width: u32| {
            common.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & ((1 << width) - 1) != 0)
        };
        let inet = |bit: usize| raw.inet_flags >> bit & 1 != 0;
        let (family, address) = match u16::read(field(at.family))? {
            AF_INET => (Family::Ipv4, IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::read(field(at.rcv_saddr))?))),
            AF_INET6 => (Family::Ipv6, IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::read(field(at.v6_rcv_saddr))?))),
            _ => return None,
        };
        let protocol = protocol(raw.protocol);
        Some(SocketFacts {
            inode: Inode(raw.inode),
            cookie: Cookie(u64::read(field(at.cookie))?),
            netns: NetNs(raw.netns),
            netns_cookie: raw.netns_cookie,
            family,
            protocol,
            local: Endpoint { address, port: u16::read(field(at.num))? },
            state: state(u8::read(field(at.state))?),
            flags: Flags {
                reuseaddr: bit(at.reuse, 4),
                reuseport: bit(at.reuseport, 1),
                v6only: bit(at.v6only, 1),
                freebind: inet(at.freebind),
                transparent: inet(at.transparent),
                bind_address_no_port: inet(at.bind_address_no_port),
            },
            device: device(u32::read(field(at.bound_dev))?, raw),
            uid: raw.uid,
            creator: None,
            forced: u8::read(field(at.reuse / 8))
                .is_some_and(|byte| byte >> (at.reuse % 8) & 0xf == SK_FORCE_REUSE),
            multicast: Vec::new(),
            queue: 0,
            queue_limit: 0,
            drops: 0,
            group: None,
        })
    }

    /// The rows of a snapshot; bytes behind the last whole row are left.
    pub fn holdings(&self, bytes: &[u8]) -> Vec<Holding> {
        rows::<HoldingRecord>(bytes).filter_map(|record| self.holding(&record)).collect()
    }

    fn holding(&self, record: &HoldingRecord) -> Option<Holding> {
        let mut socket = self.socket(&record.socket)?;
        let live = gauges(
            socket.state,
            [record.accept_queue, record.accept_queue_limit],
            [record.receive_queue, record.receive_queue_limit],
            record.drops,
            &record.group,
        );
        (socket.queue, socket.queue_limit, socket.drops) = (live.queue, live.queue_limit, live.drops);
        socket.group = live.group;
        socket.creator = (record.has_creator == 1).then_some(record.creator);
        socket.forced |= record.repair == 1;
        socket.multicast = record.multicast.iter().copied().filter_map(group_address).collect();
        Some(Holding { socket, pid: record.pid, comm: Comm(record.comm), uid: record.uid, fd: record.fd })
    }
}

/// The rows of the selection counters.
pub fn counts(bytes: &[u8]) -> impl Iterator<Item = MemberCount> + '_ {
    rows::<SelectionRow>(bytes).map(|row| MemberCount {
        counter: Counter(row.key),
        inode: Inode(row.inode),
        selections: row.selected,
        flows: (row.tells_flows == 1).then_some(row.flows),
        live: (row.live == 1).then(|| {
            gauges(
                state(row.state),
                [row.accept_queue, row.accept_queue_limit],
                [row.receive_queue, row.receive_queue_limit],
                row.drops,
                &row.group,
            )
        }),
    })
}

fn rows<T: Wire>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.chunks_exact(size_of::<T>()).filter_map(T::read)
}

fn gauges(state: State, accept: [u32; 2], receive: [u32; 2], drops: u32, raw: &RawGroup) -> MemberGauges {
    let [queue, queue_limit] = if state == State::Listen { accept } else { receive };
    let group = group::facts(raw, state);
    MemberGauges { drops: drops.into(), queue: queue.into(), queue_limit: queue_limit.into(), group }
}

fn device(index: u32, raw: &RawSocket) -> Option<Device> {
    if index == 0 {
        return None;
    }
    let name = raw.device.split(|byte| *byte == 0).next().unwrap_or_default();
    let name: Arc<str> = if raw.has_device == 1 && !name.is_empty() {
        reuse_model::text::escape(name).into()
    } else {
        format!("if{index}").into()
    };
    Some(Device { index, name })
}

/// One place for the address of a multicast group, `None` if empty.
fn group_address(bytes: [u8; 16]) -> Option<IpAddr> {
    let address = Ipv6Addr::from(bytes);
    (!address.is_unspecified()).then(|| address.to_canonical())
}

/// The phase of a record of a call, and whether it is an attempt.
fn call_kind(kind: u32) -> Option<(Phase, bool)> {
    const BIND: u32 = Kind::Bind as u32;
    const LISTEN: u32 = Kind::Listen as u32;
    const CONNECT: u32 = Kind::Connect as u32;
    const SEND: u32 = Kind::Send as u32;
    const BIND_ATTEMPT: u32 = Kind::BindAttempt as u32;
    const LISTEN_ATTEMPT: u32 = Kind::ListenAttempt as u32;
    match kind {
        BIND => Some((Phase::Bind, false)),
        LISTEN => Some((Phase::Listen, false)),
        CONNECT => Some((Phase::Connect, false)),
        SEND => Some((Phase::Send, false)),
        BIND_ATTEMPT => Some((Phase::Bind, true)),
        LISTEN_ATTEMPT => Some((Phase::Listen, true)),
        _ => None,
    }
}

fn via(way: u8) -> Via {
    const COMPAT: u8 = Way::Compat as u8;
    const IO_URING: u8 = Way::IoUring as u8;
    const KERNEL: u8 = Way::Kernel as u8;
    const IMPLICIT: u8 = Way::Implicit as u8;
    match way {
        COMPAT => Via::Compat,
        IO_URING => Via::IoUring,
        KERNEL => Via::Kernel,
        IMPLICIT => Via::Implicit,
        _ => Via::Syscall,
    }
}

fn protocol(number: u16) -> Protocol {
    match number {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        262 => Protocol::Mptcp,
        _ => Protocol::Other,
    }
}

/// include/net/tcp_states.h
fn state(number: u8) -> State {
    match number {
        10 => State::Listen,
        1 | 2 | 3 | 8 | 12 => State::Connected,
        4 | 5 | 9 | 11 => State::Closing,
        6 => State::TimeWait,
        _ => State::Bound,
    }
}

/// A socket address as a process passed it; `None` if too short or of another family. An IPv4 socket takes `AF_UNSPEC` for
/// `AF_INET` (net/ipv4/af_inet.c, `__inet_bind`).
fn sockaddr(bytes: &[u8], length: u32, ipv4: bool) -> Option<Endpoint> {
    let bytes = bytes.get(..length as usize)?;
    let port = u16::from_be_bytes(<[u8; 2]>::read(bytes.get(2..)?)?);
    let address = match u16::read(bytes)? {
        family if family == AF_INET || (ipv4 && family == AF_UNSPEC) => {
            IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::read(bytes.get(4..)?)?))
        }
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::read(bytes.get(8..)?)?)),
        _ => return None,
    };
    Some(Endpoint { address, port })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAYOUT: SocketLayout = SocketLayout {
        family: 16,
        state: 18,
        num: 14,
        bound_dev: 20,
        rcv_saddr: 4,
        v6_rcv_saddr: 72,
        cookie: 88,
        reuse: 19 * 8,
        reuseport: 19 * 8 + 4,
        v6only: 19 * 8 + 5,
        net_refcnt: 19 * 8 + 6,
        freebind: 11,
        transparent: 15,
        bind_address_no_port: 28,
    };

    #[test]
    fn a_socket_address_needs_its_whole_length() {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&[2, 0, 0x1f, 0x90, 127, 0, 0, 1]);
        let whole = Endpoint { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 8080 };
        assert_eq!(sockaddr(&bytes, 16, true), Some(whole));
        assert_eq!(sockaddr(&bytes, 7, true), None);
        bytes[0] = 0;
        assert_eq!((sockaddr(&bytes, 16, true), sockaddr(&bytes, 16, false)), (Some(whole), None));
        bytes[0] = 1;
        assert_eq!(sockaddr(&bytes, 28, true), None);
    }

    #[test]
    fn unknown_kinds_and_short_records_are_named() {
        let decoder = Decoder::new(LAYOUT, Duration::from_millis(4));
        assert_eq!(decoder.event(&99_u32.to_ne_bytes()), Err(DecodeError::Kind(99)));
        assert_eq!(decoder.event(&(Kind::Bind as u32).to_ne_bytes()), Err(DecodeError::Short(4)));
        assert_eq!(decoder.event(&[]), Err(DecodeError::Short(0)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(kind in 0_u32..15, bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
            let mut record = kind.to_ne_bytes().to_vec();
            record.extend(&bytes);
            let decoder = Decoder::new(LAYOUT, Duration::from_millis(4));
            let _ = decoder.event(&record);
            let _ = decoder.holdings(&bytes);
            prop_assert_eq!(counts(&bytes).count(), bytes.len() / size_of::<SelectionRow>());
        }
    }
}
