//! The signals of the host: those that last, and those that ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Case, Kind, Policy, Severity,
    active::Active,
    attempts::Attempts,
    conspicuous::{are_alike, conspicuous_ports, is_steered, meets_others},
    departed::Departed,
    flood::Flood,
    groups::{self, Circumstances, Steered, Steering},
    handover::Handovers,
    meeting::is_eligible,
    pairs,
    reading::Readings,
    schedule::{Due, PATIENCE, Schedule, is_young, is_younger},
    side::sides,
    singles,
    state::{State, StateKey},
    takeover::Takeovers,
    traffic::Traffic,
};
use crate::{
    conflict::Conflict,
    endpoint::Protocol,
    event::{Event, MemberCount, Moment, Touch, Touched},
    group::{Group, GroupKey, Groups},
    history::History,
    inventory::{Change, Inventory, PortKey, Socket},
    report::Context,
    socket::Inode,
};

/// Most signals that last at once; beyond, one of less gravity gives way.
pub const ACTIVE_MAX: usize = 4096;

/// Nanoseconds that a socket has on a port of a multicast group until it must have joined: it may do so on each device in
/// turn, and until then it looks like somebody who wants the others' datagrams.
const JOINS_WITHIN: u64 = 600_000_000;

/// What a party of an ended signal weighs: a socket with its owners, some 800 bytes.
const PARTY_WEIGHT: usize = 4;

/// What is told of a signal: its begin or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it began or, if it has ended, ended
    pub at: Moment,
    /// The signal as it is then
    pub case: Case,
}

/// What signals are judged by.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Every socket
    pub inventory: &'a Inventory,
    /// Every group
    pub groups: &'a Groups,
    /// What numbers are called
    pub context: &'a dyn Context,
    /// Whether changes of socket options are told
    pub options_are_told: bool,
    /// The time
    pub now: Moment,
}

/// What one look at a port shows.
struct States {
    by_key: BTreeMap<StateKey, State>,
    /// Since when there is a socket that it is too early to judge, and for how long it is
    young: Option<(Moment, u64)>,
    /// Sides of the port that were not looked at
    beyond: u64,
    /// When one of the states ends by itself
    next: Option<Moment>,
}

/// Every signal of the host.
#[derive(Debug, Default)]
pub struct Signals {
    policy: Policy,
    schedule: Schedule,
    readings: Readings,
    departed: Departed,
    attempts: Attempts,
    takeovers: Takeovers,
    handovers: Handovers,
    steered: Steered,
    traffic: Traffic,
    active: BTreeMap<PortKey, BTreeMap<StateKey, Active>>,
    count: usize,
    ended: History<Case>,
    raised: BTreeMap<(Kind, Severity, Protocol), u64>,
    overflow: u64,
    flood: Flood,
    untold: u64,
}

impl Signals {
    /// The signals that last, in the order in which they began.
    pub fn active(&self) -> impl Iterator<Item = &Case> {
        let mut all: Vec<_> =
            self.active.values().flat_map(BTreeMap::values).map(|active| &active.case).collect();
        all.sort_by_key(|case| (case.since, case.port, case.kind));
        all.into_iter()
    }

    /// Those that ended at `from` or later, in the order in which they ended.
    pub fn ended_since(&self, from: Moment) -> impl Iterator<Item = &Case> {
        self.ended.since(from)
    }

    /// How many that ended were dropped for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.ended.dropped()
    }

    /// How many were not told because too many lasted already, or too many were on one port.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// How many began without being told, since who brought them about did so in a loop. They are listed and counted.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.untold
    }

    /// How many began since the daemon started, without those that were there before it.
    pub fn raised(&self) -> impl Iterator<Item = ((Kind, Severity, Protocol), u64)> {
        self.raised.iter().map(|(labels, count)| (*labels, *count))
    }

    /// Judges by this policy from now on, also what lasts already: at the next look.
    pub fn set_policy(&mut self, policy: Policy, inventory: &Inventory, now: Moment) {
        self.policy = policy;
        self.look_at_all(inventory, now);
    }

    /// The sockets whose traffic is to be counted although they are in no group.
    pub fn watched(&self) -> impl Iterator<Item = Inode> {
        self.traffic.watched()
    }

    /// Takes in counts of every socket that is counted.
    pub fn count(&mut self, counts: &[MemberCount]) {
        self.traffic.count(counts);
        for active in self.active.values_mut().flat_map(BTreeMap::values_mut) {
            active.fill(&self.traffic);
        }
    }

    /// Takes in one step of the inventory, which has it already.
    pub fn note(&mut self, change: &Change, at: Moment, inventory: &Inventory) {
        match change {
            Change::Added(socket) => self.changed(None, socket, at, inventory),
            Change::Updated { before, after } => self.changed(Some(before), after, at, inventory),
            Change::Removed(socket) => self.removed(socket, at),
        }
    }

    fn changed(
        &mut self,
        before: Option<&Arc<Socket>>,
        socket: &Arc<Socket>,
        at: Moment,
        inventory: &Inventory,
    ) {
        if before.is_some_and(|before| are_alike(before, socket)) {
            return;
        }
        let moved_from = before.and_then(|before| PortKey::of(&before.facts));
        let Some(port) = PortKey::of(&socket.facts) else { return };
        if let Some(left) = moved_from.filter(|left| *left != port) {
            self.schedule.happened(left, at, false);
        }
        for asked in self.attempts.ports_of(socket.facts.inode) {
            self.schedule.happened(asked, at, false);
        }
        // What decides in its group may have been set before it had its port.
        if socket.facts.flags.reuseport
            && socket.facts.group.is_none()
            && let Some(owner) = socket.owners.first().filter(|owner| !owner.process.own)
        {
            self.readings.of_process(owner.process.pid, at);
        }
        let was_eligible =
            before.is_some_and(|before| moved_from == Some(port) && is_eligible(&before.facts));
        if !was_eligible && self.departed.was_on(port) {
            self.takeovers.begin(port, socket, at, &self.departed, inventory);
            self.schedule.happened(port, at, false);
        }
        if singles::is_of_doubtful_uid(socket) {
            self.schedule.happened(port, at, true);
        } else if meets_others(inventory.on_port(port))
            || is_steered(socket)
            || self.active.contains_key(&port)
            || singles::may_be_told(socket)
        {
            self.schedule.happened(port, at, false);
        }
    }

    fn removed(&mut self, socket: &Arc<Socket>, at: Moment) {
        let Some(port) = PortKey::of(&socket.facts) else { return };
        self.handovers.closed(socket.facts.inode);
        if !socket.is_own() {
            self.departed.bury(socket, at);
        }
        if self.active.contains_key(&port) {
            self.schedule.happened(port, at, false);
        }
    }

    /// Takes in an event, which the inventory has already.
    pub fn event(&mut self, event: &Event, world: World<'_>) {
        let World { inventory, .. } = world;
        match event {
            Event::Touch(touch) => self.touched(touch, world),
            Event::Fork { parent, child, at } => {
                if inventory.has_sockets(*parent) || self.readings.awaits(*parent) {
                    self.handovers.forked(*parent, *child, *at);
                    self.readings.of_process(*child, *at);
                }
            }
            Event::Exec { pid, at } => {
                if inventory.has_sockets(*pid) || self.readings.awaits(*pid) {
                    self.readings.of_process(*pid, *at);
                }
            }
            Event::Took { pid, at } => {
                self.handovers.took(*pid);
                self.readings.of_process(*pid, *at);
            }
            Event::Sent { inode, pid, at } => {
                self.handovers.sent(*inode, *pid);
                if let Some(port) = inventory.get(*inode).and_then(|socket| PortKey::of(&socket.facts)) {
                    self.readings.of_port(port, *at);
                }
            }
            Event::Exit { pid, at } => {
                self.handovers.exited(*pid);
                self.readings.exited(*pid);
                for port in self.attempts.exited(*pid) {
                    self.schedule.happened(port, *at, false);
                }
            }
            Event::Call(_) | Event::Attempt(_) | Event::Close { .. } => {}
        }
    }

    fn touched(&mut self, touch: &Touch, world: World<'_>) {
        let World { inventory, groups, .. } = world;
        let Some(socket) = inventory.get(touch.inode) else { return };
        let Some(port) = PortKey::of(&socket.facts) else { return };
        self.schedule.happened(port, touch.at, true);
        let Some(group) = groups.seat(touch.inode).and_then(|(key, _)| groups.get(key)) else { return };
        let pid = touch.caller.pid;
        match touch.what {
            Touched::AttachProgram | Touched::IncomingCpu => {}
            Touched::DetachProgram => return self.steered.clear(group.key()),
            _ => return,
        }
        if self.steered.is_set(group.key(), touch.what, pid) {
            return;
        }
        let is_members = group.members().any(|(_, member, _)| member.socket.owner(pid).is_some());
        let steering =
            Steering { what: touch.what, pid, at_start: is_members && is_unused(group), at: touch.at };
        self.steered.set(*group.key(), steering);
    }

    /// Takes in a refusal.
    pub fn refused(&mut self, conflict: &Conflict, inventory: &Inventory) {
        if conflict.holders.is_empty() {
            return;
        }
        if let Some(port) = self.attempts.take_in(conflict, inventory) {
            self.schedule.happened(port, conflict.call.at, false);
        }
    }

    /// The sockets that asked and were refused, each with a process that has it: nothing tells when they go.
    pub fn refused_sockets(&self) -> impl Iterator<Item = (Inode, u32)> {
        self.attempts.open()
    }

    /// A socket that asked and was refused is gone.
    pub fn refused_gone(&mut self, inode: Inode, now: Moment) {
        for port in self.attempts.gone(inode) {
            self.schedule.happened(port, now, false);
        }
    }

    /// Whether something is to be looked at.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        let first = self.schedule.next().into_iter().chain(self.readings.next()).min();
        first.is_some_and(|first| first <= now)
    }

    /// The processes whose sockets are to be read anew, because they may have got some.
    pub fn processes_due(&mut self, now: Moment) -> Vec<u32> {
        self.readings.processes_due(now)
    }

    /// The ports whose time has come.
    pub fn due(&mut self, inventory: &Inventory, now: Moment) -> Vec<Due> {
        for port in self.readings.ports_due(now) {
            self.schedule.happened(port, Moment(0), true);
        }
        if self.schedule.was_overrun() {
            self.look_at_all(inventory, now);
        }
        self.schedule.due(now)
    }

    /// Judges ports later.
    pub fn postpone(&mut self, due: &[Due], now: Moment) {
        for Due { port, reads, .. } in due {
            self.schedule.happened(*port, now, *reads);
        }
    }

    /// Whether a signal lasts on one of the ports.
    #[must_use]
    pub fn concern(&self, due: &[Due]) -> bool {
        due.iter().any(|due| self.active.contains_key(&due.port))
    }

    /// Looks at everything soon: the sockets of the host were read anew.
    pub fn look_at_all(&mut self, inventory: &Inventory, now: Moment) {
        for port in conspicuous_ports(inventory).into_iter().chain(self.active.keys().copied()) {
            self.schedule.happened(port, now, false);
        }
        self.departed.forget_old(now);
    }

    /// Looks soon at the groups of which counts show something new.
    pub fn look_at_groups(&mut self, groups: &Groups, now: Moment) {
        for group in groups.iter().filter(|group| group.is_live()) {
            let port = port_of(group.key());
            let known = self.active.get(&port);
            if (known.is_some() || groups::is_conspicuous(group)) && groups::has_news(port, group, known) {
                self.schedule.happened(port, now, false);
            }
        }
        self.steered.retain(|key| groups.get(key).is_some_and(Group::is_live));
    }

    /// The sockets to read anew before the ports are judged: those of states that no signal tells of yet, and those that
    /// are known to have changed.
    pub fn to_read(&mut self, due: &[Due], world: World<'_>) -> Vec<Inode> {
        let mut wanted = BTreeSet::new();
        for due in due {
            if due.reads {
                wanted.extend(world.inventory.on_port(due.port).map(|socket| socket.facts.inode));
                continue;
            }
            let States { by_key, .. } = self.states(due.port, world, false);
            let known = self.active.get(&due.port);
            let is_known = |key: &StateKey| known.is_some_and(|known| known.contains_key(key));
            let is_expected = |state: &State| self.severity(&state.case(world.now, false), world).is_none();
            let new = by_key.into_iter().filter(|(key, state)| !is_known(key) && !is_expected(state));
            let parties = new.flat_map(|(_, state)| state.parties);
            let live = parties.filter(|(_, socket)| world.inventory.get(socket.facts.inode).is_some());
            wanted.extend(live.map(|(_, socket)| socket.facts.inode));
        }
        wanted.into_iter().collect()
    }

    /// Judges ports and appends what began and what ended.
    pub fn judge(&mut self, due: &[Due], world: World<'_>, told: &mut Vec<Told>) {
        let known = |at: Moment| if at.0 == 0 { world.now } else { at };
        for Due { port, at, last, .. } in due {
            self.judge_port(*port, [known(*at), known(*last)], world, false, told);
        }
    }

    /// Judges what was there before the daemon: listed, and not told.
    pub fn begin(&mut self, world: World<'_>) {
        let mut ports = conspicuous_ports(world.inventory);
        let groups = world.groups.iter().filter(|group| groups::is_conspicuous(group));
        ports.extend(groups.map(|group| port_of(group.key())));
        for port in ports {
            self.judge_port(port, [world.now; 2], world, true, &mut Vec::new());
        }
    }

    /// Judges a port. `at`: when the first and the last of what is to be judged happened.
    fn judge_port(
        &mut self,
        port: PortKey,
        at: [Moment; 2],
        world: World<'_>,
        first: bool,
        told: &mut Vec<Told>,
    ) {
        let [at, last] = at;
        let States { by_key: mut states, young, beyond, next } = self.states(port, world, first);
        if let Some((since, wait)) = young {
            self.schedule.grows(port, since, wait);
        }
        self.attempts.looked_at(port);
        self.overflow += beyond;
        if let Some(next) = next {
            self.schedule.ends(port, next);
        }
        let before = self.active.remove(&port).unwrap_or_default();
        let mut after = BTreeMap::new();
        for (key, mut active) in before {
            let severity = match states.remove(&key) {
                Some(state) => {
                    active.renew(&state, &mut self.traffic);
                    self.severity(&active.case_by_itself(), world)
                }
                None => None,
            };
            match severity {
                Some(severity) => {
                    active.case.severity = severity;
                    after.insert(key, active);
                }
                None => {
                    let is_told = active.is_told;
                    let ended = self.end(active, last, world.now);
                    told.extend(is_told.then_some(ended));
                }
            }
        }
        for (key, state) in states {
            let is_found = first && state.parties.iter().all(|(_, socket)| socket.since.is_none());
            let mut case = state.case(at, is_found);
            let Some(severity) = self.severity(&case, world) else { continue };
            if !self.has_room(severity) {
                self.overflow += 1;
                continue;
            }
            case.severity = severity;
            let is_told = is_found || self.flood.admits(&whose(&case), world.now);
            let active = Active::begin(case, state.severity, is_told, &mut self.traffic);
            if !is_found {
                *self.raised.entry((active.case.kind, severity, active.case.protocol)).or_default() += 1;
                match is_told {
                    true => told.push(Told { at: active.case.since, case: active.case.clone() }),
                    false => self.untold += 1,
                }
            }
            self.count += 1;
            after.insert(key, active);
        }
        if !after.is_empty() {
            self.active.insert(port, after);
        }
    }

    /// How grave a signal is to the operator; `None` where it is expected.
    fn severity(&self, case: &Case, world: World<'_>) -> Option<Severity> {
        self.policy.judge(case, &|netns| world.context.netns_name(netns))
    }

    fn end(&mut self, mut active: Active, at: Moment, now: Moment) -> Told {
        self.count -= 1;
        active.fill(&self.traffic);
        active.unwatch(&mut self.traffic);
        let until = at.max(active.case.since).min(now);
        active.case.until = Some(until);
        let case = active.case;
        let whose = whose(&case);
        self.ended.push(&whose, until, case.clone(), PARTY_WEIGHT * case.parties.len());
        Told { at: until, case }
    }

    /// Whether one more may last; a graver one takes the place of another.
    fn has_room(&mut self, severity: Severity) -> bool {
        if self.count < ACTIVE_MAX {
            return true;
        }
        let all = || {
            self.active
                .iter()
                .flat_map(|(port, of_port)| of_port.iter().map(move |(key, one)| (port, key, one)))
        };
        let least = all().min_by_key(|(.., one)| one.case.severity);
        let Some((port, key, _)) = least.filter(|(.., one)| one.case.severity < severity) else {
            return false;
        };
        let (port, key) = (*port, key.clone());
        let gone = self.active.get_mut(&port).and_then(|of_port| of_port.remove(&key));
        if let Some(gone) = gone {
            self.count -= 1;
            self.overflow += 1;
            gone.unwatch(&mut self.traffic);
        }
        true
    }

    /// Forgets what ended too long ago.
    pub fn forget_old(&mut self, now: Moment) {
        self.ended.forget_old(now);
    }

    /// The states of a port.
    fn states(&mut self, port: PortKey, world: World<'_>, found: bool) -> States {
        let World { inventory, groups, options_are_told, now, .. } = world;
        let mut states = Vec::new();
        // A port may be looked at for an earlier change: who came since is not done with its options.
        let is_multicast = inventory.on_port(port).any(|socket| !socket.facts.multicast.is_empty());
        let (young, grown): (Vec<_>, Vec<_>) = inventory.on_port(port).partition(|socket| {
            let joins_late = is_multicast && socket.facts.multicast.is_empty();
            let waits = |since| is_young(since, now) || joins_late && is_younger(since, now, JOINS_WITHIN);
            socket.since.is_some_and(waits)
        });
        let (sides, beyond) = sides(grown.into_iter());
        pairs::look(port, &sides, inventory.ephemeral_ports(), &mut states);
        let mut keys = BTreeSet::new();
        for socket in inventory.on_port(port) {
            singles::look(port, socket, inventory.on_port(port), &self.handovers, &mut states);
            keys.extend(groups.seat(socket.facts.inode).map(|(key, _)| *key));
        }
        // In a group of the daemon's own only strangers are members, and its program is no business of theirs.
        let is_own = inventory.on_port(port).any(|socket| socket.is_own());
        for group in keys.iter().filter_map(|key| groups.get(key)).filter(|_| !is_own) {
            let circumstances = Circumstances { found, options_are_told };
            groups::look(port, group, &self.steered, circumstances, &mut states);
        }
        let attempts_end = self.attempts.look(port, inventory, now, &mut states);
        let takeovers_end = self.takeovers.look(port, inventory, now, &mut states);
        let mut by_key: BTreeMap<StateKey, State> = BTreeMap::new();
        for state in states {
            match by_key.get_mut(&state.key) {
                Some(known) => known.join(state),
                None => {
                    by_key.insert(state.key.clone(), state);
                }
            }
        }
        let waits = |since| (since, if is_young(since, now) { PATIENCE } else { JOINS_WITHIN });
        let young = young.into_iter().filter_map(|socket| socket.since).map(waits);
        let young = young.min_by_key(|(since, wait)| since.0 + wait);
        States {
            by_key,
            young,
            beyond: beyond as u64,
            next: attempts_end.into_iter().chain(takeovers_end).min(),
        }
    }
}

/// Who brought a signal about: the service of its last party, who takes or asks.
fn whose(case: &Case) -> Arc<str> {
    let last = case.parties.last().and_then(|party| party.socket.known_owners().first());
    last.map_or_else(|| Arc::from(""), |owner| Arc::clone(&owner.process.service))
}

fn port_of(key: &GroupKey) -> PortKey {
    PortKey { netns: key.netns, transport: key.transport, port: key.local.port }
}

/// Whether nothing was selected in a group yet.
fn is_unused(group: &Group) -> bool {
    group.slots().all(|(.., counts)| counts.selections == 0)
}
