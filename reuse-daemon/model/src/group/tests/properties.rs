//! Counters under any order of opens, closes, selections and readings.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Open(u16),
    Close(usize),
    Select(usize, u64),
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4_u16).prop_map(Step::Open),
        2 => any::<usize>().prop_map(Step::Close),
        4 => (any::<usize>(), 1..100_u64).prop_map(|(socket, n)| Step::Select(socket, n)),
        2 => Just(Step::Read),
    ]
}

proptest! {
    /// Every selection lands in its group once, no slot's counter goes back, and open members fill the lowest slots
    /// that were free.
    #[test]
    fn selections_are_neither_lost_nor_doubled(steps in prop::collection::vec(step(), 0..60)) {
        let mut host = Host::default();
        let mut totals: Vec<(u64, u64, u64)> = Vec::new();
        let mut ports: BTreeMap<u64, u16> = BTreeMap::new();
        let mut last: BTreeMap<(GroupKey, u32), u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Open(port) => {
                    let inode = totals.len() as u64 + 1;
                    totals.push((inode, inode + 1000, 0));
                    ports.insert(inode, port);
                    host.put(udp_member(inode, port));
                }
                Step::Close(number) => {
                    let open: Vec<u64> = host.sockets.keys().copied().collect();
                    if let Some(inode) = open.get(number % open.len().max(1)) {
                        host.close(*inode);
                    }
                }
                Step::Select(number, n) => {
                    let open: Vec<u64> = host.sockets.keys().copied().collect();
                    if let Some(inode) = open.get(number % open.len().max(1)) {
                        totals[*inode as usize - 1].2 += n;
                    }
                }
                Step::Read => host.count(&totals),
            }
            for group in host.groups.iter() {
                for (slot, _, counts) in group.slots() {
                    let before = last.insert((*group.key(), slot), counts.selections).unwrap_or(0);
                    prop_assert!(counts.selections >= before);
                }
            }
        }
        host.count(&totals);
        for group in host.groups.iter() {
            let port = group.key().local.port;
            let sent: u64 = totals.iter().filter(|total| ports[&total.0] == port).map(|total| total.2).sum();
            let counted: u64 = group.slots().map(|(_, _, counts)| counts.selections).sum();
            prop_assert_eq!(counted, sent);
            prop_assert_eq!(group.members().count(), group.len());
            let open = host.sockets.values().filter(|socket| socket.facts.local.port == port).count();
            prop_assert_eq!(group.len(), open);
        }
    }
}
