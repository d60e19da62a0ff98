//! A small model, and what happens in it.

use std::{net::IpAddr, sync::Arc};

use reuse_model::{
    conflict::Conflict,
    endpoint::{Endpoint, Family, Protocol},
    event::{Call, Caller, Comm, Counter, Event, Evidence, MemberCount, MemberGauges, Moment, Phase, Via},
    group::Reading,
    inventory::Limits,
    port::{Occupant, Port, Table},
    process::{Process, Processes},
    refusal::{Refusal, Remembered},
    rulebook::{Features, Kernel, Release},
    signal::{Case, Kind, Severity},
    socket::{Cookie, Flags, Inode, NetNs, SocketFacts, State},
};

use super::super::*;

/// Everything a scrape reads.
pub(super) struct World {
    pub(super) tally: Tally,
    pub(super) inventory: Inventory,
    pub(super) ephemeral_listeners: EphemeralListeners,
    pub(super) groups: Groups,
    pub(super) signals: Vec<Case>,
    pub(super) raised: Vec<((Kind, Severity, Protocol), u64)>,
    pub(super) test_groups: TestGroups,
    pub(super) corrections: BTreeMap<Correction, u64>,
    pub(super) health: KernelHealth,
    pub(super) config_loaded: bool,
    pub(super) clock: Clock,
}

struct Names;

impl Context for Names {
    fn netns_name(&self, netns: NetNs) -> Arc<str> {
        Arc::from(if netns.0 == 1 { "host" } else { "other" })
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

struct Services;

impl Processes for Services {
    fn process(&mut self, pid: u32, comm: Comm, uid: u32) -> Arc<Process> {
        let service = format!("web-{pid}.service").into();
        Arc::new(Process { service, ..Process::from_comm(pid, comm, uid) })
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            tally: Tally::new(2),
            inventory: Inventory::new(Limits::default()),
            ephemeral_listeners: EphemeralListeners::new(),
            groups: Groups::new(),
            signals: Vec::new(),
            raised: Vec::new(),
            test_groups: TestGroups::default(),
            corrections: BTreeMap::new(),
            health: KernelHealth::default(),
            config_loaded: true,
            clock: Clock::read(),
        }
    }

    pub(super) fn scrape(&self, metrics: &mut Metrics) -> String {
        let active: Vec<_> = self.signals.iter().collect();
        metrics.scrape(&Observed {
            tally: &self.tally,
            inventory: &self.inventory,
            ephemeral_listeners: &self.ephemeral_listeners,
            groups: &self.groups,
            signals: SignalsSeen { active: &active, raised: &self.raised },
            selections_counted: true,
            test_groups: &self.test_groups,
            corrections: &self.corrections,
            health: &self.health,
            config_loaded: self.config_loaded,
            clock: &self.clock,
            context: &Names,
        })
    }

    /// A call that returned `errno`, counted and taken in.
    pub(super) fn call(&mut self, call: Call) {
        let rules = Kernel::new(Release::NEWEST, Features::default());
        self.tally.call(&call);
        if let Some(refusal) = Refusal::of(&call, &rules, Remembered::default) {
            let process = Services.process(7, Comm::default(), 33);
            self.tally.refusal(&Conflict::new(call.clone(), process, refusal, []));
        }
        self.event(&Event::Call(Box::new(call)));
    }

    pub(super) fn event(&mut self, event: &Event) {
        let mut changes = Vec::new();
        self.inventory.apply(event, &mut Services, &mut changes);
        for change in &changes {
            self.groups.apply(change, Moment(1), &mut Vec::new());
        }
    }

    /// A member of a group on `port`, which the kernel selected `selections` times.
    pub(super) fn member(&mut self, inode: u64, port: u16, protocol: Protocol, selections: u64) {
        let phase = if protocol == Protocol::Udp { Phase::Bind } else { Phase::Listen };
        self.call(call(phase, 0, facts(inode, port, protocol)));
        self.selected(&[(inode, selections)]);
    }

    pub(super) fn selected(&mut self, counts: &[(u64, u64)]) {
        self.selected_at(2, counts);
    }

    /// The kernel had selected sockets so many times when it was read.
    pub(super) fn selected_at(&mut self, at: u64, counts: &[(u64, u64)]) {
        let counts: Vec<_> = counts
            .iter()
            .map(|(inode, selections)| MemberCount {
                counter: Counter(*inode),
                inode: Inode(*inode),
                selections: *selections,
                flows: None,
                live: Some(MemberGauges { drops: 2, queue: 3, queue_limit: 128, group: None }),
            })
            .collect();
        let _ = self.groups.count(&counts, Reading { at: Moment(at), flows: None });
    }
}

pub(super) fn facts(inode: u64, port: u16, protocol: Protocol) -> SocketFacts {
    SocketFacts {
        inode: Inode(inode),
        cookie: Cookie(inode),
        netns: NetNs(1),
        netns_cookie: 0,
        family: Family::Ipv4,
        protocol,
        local: Endpoint { address: IpAddr::from([127, 0, 0, 1]), port },
        state: State::Bound,
        flags: Flags { reuseport: true, ..Flags::default() },
        device: None,
        uid: 33,
        creator: None,
        forced: false,
        multicast: Vec::new(),
        queue: 0,
        queue_limit: 0,
        drops: 0,
        group: None,
    }
}

pub(super) fn call(phase: Phase, errno: i32, socket: SocketFacts) -> Call {
    Call {
        phase,
        errno,
        via: Via::Syscall,
        certain: true,
        peer: None,
        at: Moment(1_000),
        caller: Caller { pid: 7, tid: 7, comm: Comm::default(), uid: 33, cgroup: 1 },
        fd: 3,
        requested: (phase == Phase::Bind).then_some(socket.local),
        evidence: None,
        socket: Some(socket),
    }
}

/// A bind that was refused by a socket without options, whose owner is not known.
pub(super) fn refused(port: u16) -> Call {
    let holder = SocketFacts { flags: Flags::default(), ..facts(98, port, Protocol::Tcp) };
    let port_read = Port {
        table: Table::Tcp(None),
        occupants: vec![Occupant::of(&holder)],
        truncated: false,
        disturbed: false,
    };
    let evidence = Evidence { port: Some(port_read), ..Evidence::default() };
    let evidence = Some(Arc::new(evidence));
    Call { evidence, ..call(Phase::Bind, 98, facts(99, port, Protocol::Tcp)) }
}
