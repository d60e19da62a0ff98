//! The inventory against a kernel made of two sets: any order of events, losses and snapshots.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    event::{Event, Holding},
    fixtures::{Everyone, bind, close, exit, facts, holding, listen, snapshot},
    socket::{SocketFacts, State},
};

/// What processes do. Numbers are taken modulo what exists.
#[derive(Clone, Debug)]
enum Step {
    Bind {
        pid: u32,
        port: u16,
    },
    Listen {
        socket: usize,
    },
    /// Another process gets the descriptor, of which no event tells.
    Share {
        socket: usize,
        pid: u32,
    },
    /// One process closes its descriptor; the last one closes the socket.
    Close {
        socket: usize,
    },
    Exit {
        pid: u32,
    },
    /// The next event is lost.
    Lose,
    /// A snapshot, of which the first part is read before the next steps and the rest after them.
    Snapshot {
        split: usize,
        meanwhile: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let pid = 10..16_u32;
    prop_oneof![
        4 => (pid.clone(), 1..9_u16).prop_map(|(pid, port)| Step::Bind { pid, port }),
        2 => any::<usize>().prop_map(|socket| Step::Listen { socket }),
        2 => (any::<usize>(), pid.clone()).prop_map(|(socket, pid)| Step::Share { socket, pid }),
        3 => any::<usize>().prop_map(|socket| Step::Close { socket }),
        1 => pid.prop_map(|pid| Step::Exit { pid }),
        1 => Just(Step::Lose),
        1 => (0..8_usize, 0..6_usize).prop_map(|(split, meanwhile)| Step::Snapshot { split, meanwhile }),
    ]
}

/// The truth.
#[derive(Default)]
struct Kernel {
    sockets: BTreeMap<u64, (SocketFacts, BTreeSet<u32>)>,
    inodes: u64,
    now: u64,
    lose: bool,
    lost: usize,
}

impl Kernel {
    fn pick(&self, number: usize) -> Option<u64> {
        self.sockets.keys().nth(number % self.sockets.len().max(1)).copied()
    }

    /// Does one step and says which events came of it.
    fn run(&mut self, step: &Step) -> Vec<Event> {
        self.now += 10;
        let now = self.now;
        let events = match *step {
            Step::Bind { pid, port } => {
                self.inodes += 1;
                let facts = facts(self.inodes, port);
                self.sockets.insert(self.inodes, (facts.clone(), BTreeSet::from([pid])));
                vec![bind(pid, now, facts)]
            }
            Step::Listen { socket } => self.pick(socket).map_or_else(Vec::new, |inode| {
                let (facts, owners) = self.sockets.get_mut(&inode).expect("picked");
                facts.state = State::Listen;
                vec![listen(*owners.first().expect("owned"), now, facts.clone())]
            }),
            Step::Share { socket, pid } => {
                if let Some(inode) = self.pick(socket) {
                    self.sockets.get_mut(&inode).expect("picked").1.insert(pid);
                }
                Vec::new()
            }
            Step::Close { socket } => self.pick(socket).map_or_else(Vec::new, |inode| {
                let pid = *self.sockets[&inode].1.first().expect("owned");
                self.drop_descriptor(inode, pid)
            }),
            Step::Exit { pid } => {
                let inodes: Vec<u64> = self.sockets.keys().copied().collect();
                let closes: Vec<Event> =
                    inodes.into_iter().flat_map(|inode| self.drop_descriptor(inode, pid)).collect();
                std::iter::once(exit(pid, now)).chain(closes).collect()
            }
            Step::Lose => {
                self.lose = true;
                Vec::new()
            }
            Step::Snapshot { .. } => Vec::new(),
        };
        if !events.is_empty() && std::mem::take(&mut self.lose) {
            self.lost += 1;
            return events.into_iter().skip(1).collect();
        }
        events
    }

    fn drop_descriptor(&mut self, inode: u64, pid: u32) -> Vec<Event> {
        let Some((_, owners)) = self.sockets.get_mut(&inode) else { return Vec::new() };
        owners.remove(&pid);
        if !owners.is_empty() {
            return Vec::new();
        }
        self.sockets.remove(&inode);
        vec![close(inode, self.now)]
    }

    /// What the snapshot's walk sees of processes `pids` now.
    fn walk(&self, pids: std::ops::Range<u32>) -> Vec<Holding> {
        let mut holdings = Vec::new();
        for pid in pids {
            let owned = self.sockets.values().filter(|(_, owners)| owners.contains(&pid));
            holdings.extend(owned.map(|(facts, _)| holding(pid, 3, facts.clone())));
        }
        holdings
    }
}

type View = BTreeMap<u64, (State, BTreeSet<u32>)>;

fn seen(inventory: &Inventory) -> View {
    let owners = |socket: &Socket| socket.owners.iter().map(|owner| owner.process.pid).collect();
    inventory.iter().map(|socket| (socket.facts.inode.0, (socket.facts.state, owners(socket)))).collect()
}

fn truth(kernel: &Kernel) -> View {
    kernel.sockets.iter().map(|(inode, (facts, owners))| (*inode, (facts.state, owners.clone()))).collect()
}

/// What follows the changes alone ends up with the same sockets.
fn follow(mirror: &mut BTreeMap<u64, Arc<Socket>>, changes: &mut Vec<Change>) {
    for change in changes.drain(..) {
        match change {
            Change::Added(socket) => {
                assert!(mirror.insert(socket.facts.inode.0, socket).is_none(), "added twice");
            }
            Change::Updated { before, after } => {
                assert_eq!(mirror.insert(after.facts.inode.0, after), Some(before));
            }
            Change::Removed(socket) => {
                assert_eq!(mirror.remove(&socket.facts.inode.0), Some(socket));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn inventory_follows_the_kernel(steps in prop::collection::vec(step(), 0..40)) {
        let mut kernel = Kernel::default();
        let mut inventory = Inventory::new(Limits::default());
        let (mut changes, mut mirror) = (Vec::new(), BTreeMap::new());
        inventory.reconcile(&snapshot(1, 2, Vec::new()), &mut Everyone);
        let mut steps = steps.iter();
        while let Some(step) = steps.next() {
            if let Step::Snapshot { split, meanwhile } = *step {
                kernel.now += 10;
                let (began, first) = (kernel.now, 10 + split as u32);
                let mut holdings = kernel.walk(10..first);
                for step in steps.by_ref().take(meanwhile) {
                    for event in kernel.run(step) {
                        inventory.apply(&event, &mut Everyone, &mut changes);
                    }
                }
                holdings.extend(kernel.walk(first..16));
                kernel.now += 10;
                let result = inventory.reconcile(&snapshot(began, kernel.now, holdings), &mut Everyone);
                changes.extend(result.changes);
            } else {
                for event in kernel.run(step) {
                    inventory.apply(&event, &mut Everyone, &mut changes);
                }
            }
            follow(&mut mirror, &mut changes);
        }
        if kernel.lost == 0 {
            let known: BTreeSet<u64> = seen(&inventory).into_keys().collect();
            let real: BTreeSet<u64> = truth(&kernel).into_keys().collect();
            prop_assert!(known.is_subset(&real), "a closed socket is listed: {known:?}, {real:?}");
        }
        // Whatever was lost: one quiet snapshot makes it exact.
        let now = kernel.now + 10;
        let result = inventory.reconcile(&snapshot(now, now + 10, kernel.walk(10..16)), &mut Everyone);
        changes.extend(result.changes);
        follow(&mut mirror, &mut changes);
        prop_assert_eq!(seen(&inventory), truth(&kernel));
        let listed: Vec<&Arc<Socket>> = mirror.values().collect();
        let mut sockets: Vec<&Arc<Socket>> = inventory.iter().collect();
        sockets.sort_by_key(|socket| socket.facts.inode);
        prop_assert_eq!(listed, sockets);
        let counted: u64 = inventory.census().iter().map(|cell| cell.3).sum();
        prop_assert_eq!(counted, inventory.len() as u64);
        let owned: usize = inventory.by_pid.values().map(NumberSet::len).sum();
        let owners: usize = inventory.iter().map(|socket| socket.owners.len()).sum();
        prop_assert_eq!(owned, owners);
    }
}
