//! Calls, sockets and processes for tests.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use crate::{
    conflict::Conflict,
    endpoint::{Endpoint, Family, Protocol},
    event::{Call, Caller, Comm, Event, Evidence, Holding, Moment, Phase, Scope, Snapshot, Via},
    port::{Bucket, FastAddress, Occupant, Port, Table},
    process::{Process, Processes},
    refusal::{Refusal, Remembered},
    report::Context,
    rulebook::{Features, Kernel, Release},
    socket::{Cookie, Flags, Inode, NetNs, SocketFacts, State},
};

/// One second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Knows every process by its event alone; process 1 is the daemon.
pub(crate) struct Everyone;

impl Processes for Everyone {
    fn process(&mut self, pid: u32, comm: Comm, uid: u32) -> Arc<Process> {
        Arc::new(Process { own: pid == 1, ..Process::from_comm(pid, comm, uid) })
    }
}

/// Names everything by its number.
pub(crate) struct Numbers;

impl Context for Numbers {
    fn netns_name(&self, _: NetNs) -> Arc<str> {
        Arc::from("host")
    }

    fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        (uid == 0).then(|| Arc::from("root"))
    }

    fn command_line(&self, _: &Process) -> Option<Vec<Vec<u8>>> {
        Some(vec![b"/bin/srv".to_vec(), b"-k\n".to_vec()])
    }

    fn time(&self, at: Moment) -> String {
        format!("t{}", at.0)
    }
}

/// The name of a process.
pub(crate) fn comm(name: &str) -> Comm {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    Comm(bytes)
}

/// Linux 6.18, as the rulebook knows it.
pub(crate) fn kernel() -> Kernel {
    let features = Features { inet_bind2_bucket: true, bhash2: true, ..Features::default() };
    Kernel::new(Release { major: 6, minor: 18, patch: 44 }, features)
}

/// The reason of a refusal of which nothing but the call is known.
pub(crate) fn refusal(call: &Call) -> Refusal {
    Refusal::of(call, &kernel(), Remembered::default).expect("refused")
}

/// A refused call of a process, of which nothing else is known.
pub(crate) fn conflict(call: &Call, process: &Process) -> Conflict {
    Conflict::new(call.clone(), Arc::new(process.clone()), refusal(call), [])
}

/// `127.0.0.1:port`.
pub(crate) fn loopback(port: u16) -> Endpoint {
    Endpoint { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
}

/// What is read at a refusal where one TCP socket is on the port.
pub(crate) fn held_by(holder: &SocketFacts) -> Arc<Evidence> {
    let fast_address =
        FastAddress { family: holder.family, address: holder.local.address, v6only: holder.flags.v6only };
    let bucket = Bucket { fastreuse: 0, fastreuseport: 0, fastuid: 0, fast_address, wildcard_family: None };
    let port = Port {
        table: Table::Tcp(Some(bucket)),
        occupants: vec![Occupant::of(holder)],
        truncated: false,
        disturbed: false,
    };
    Arc::new(Evidence { port: Some(port), ..Evidence::default() })
}

/// A TCP socket bound to `127.0.0.1:port`, without options.
pub(crate) fn facts(inode: u64, port: u16) -> SocketFacts {
    SocketFacts {
        inode: Inode(inode),
        cookie: Cookie(0),
        netns: NetNs(4_026_531_840),
        netns_cookie: 0,
        family: Family::Ipv4,
        protocol: Protocol::Tcp,
        local: loopback(port),
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
    }
}

/// The same as UDP, with SO_REUSEPORT.
pub(crate) fn udp_member(inode: u64, port: u16) -> SocketFacts {
    let flags = Flags { reuseport: true, ..Flags::default() };
    SocketFacts { protocol: Protocol::Udp, flags, ..facts(inode, port) }
}

/// A call of process `pid` on a socket that it left as `socket`, and which it asked to be so.
pub(crate) fn call(phase: Phase, errno: i32, pid: u32, at: u64, socket: SocketFacts) -> Call {
    Call {
        phase,
        errno,
        at: Moment(at),
        caller: Caller { pid, tid: pid, comm: comm("srv"), uid: 0, cgroup: 1 },
        fd: 3,
        via: Via::Syscall,
        certain: true,
        peer: None,
        requested: (phase == Phase::Bind).then_some(socket.local),
        evidence: None,
        socket: Some(socket),
    }
}

/// A successful bind.
pub(crate) fn bind(pid: u32, at: u64, socket: SocketFacts) -> Event {
    Event::Call(Box::new(call(Phase::Bind, 0, pid, at, socket)))
}

/// A successful listen.
pub(crate) fn listen(pid: u32, at: u64, socket: SocketFacts) -> Event {
    Event::Call(Box::new(call(Phase::Listen, 0, pid, at, SocketFacts { state: State::Listen, ..socket })))
}

/// A close.
pub(crate) fn close(inode: u64, at: u64) -> Event {
    Event::Close { inode: Inode(inode), cookie: Cookie(0), drops: 0, at: Moment(at) }
}

/// An exit.
pub(crate) fn exit(pid: u32, at: u64) -> Event {
    Event::Exit { pid, at: Moment(at) }
}

/// Process `pid` has `socket` open.
pub(crate) fn holding(pid: u32, fd: u32, socket: SocketFacts) -> Holding {
    Holding { socket, pid, comm: comm("srv"), uid: 0, fd }
}

/// A snapshot.
pub(crate) fn snapshot(began: u64, ended: u64, holdings: Vec<Holding>) -> Snapshot {
    Snapshot { began: Moment(began), ended: Moment(ended), scope: Scope::Host, holdings }
}
