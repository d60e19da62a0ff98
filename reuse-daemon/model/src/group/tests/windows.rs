//! Windows, flows and what follows from them.

use super::*;
use crate::{
    group::window::WINDOW,
    socket::{GroupFacts, Selector},
};

const MINUTE: u64 = 60 * SECOND;

/// What the kernel says of a member.
fn in_group(selector: Selector, index: u32) -> Option<GroupFacts> {
    Some(GroupFacts { selector, members: 2, index: Some(index), has_connected: false, incoming_cpu: None })
}

fn group(host: &Host) -> &Group {
    host.groups.iter().next().expect("one group")
}

/// TCP listeners on one port, all opened at once.
fn listeners(members: u64) -> Host {
    let mut host = Host::default();
    for inode in 1..=members {
        host.put(SocketFacts { group: in_group(Selector::Hash, inode as u32 - 1), ..listener(inode) });
    }
    host
}

impl Host {
    /// Reads totals of the sockets 1, 2, ... at a moment.
    fn read(&mut self, at: u64, totals: &[u64]) -> Vec<Counter> {
        let counts: Vec<_> = (1..).zip(totals).map(|(inode, total)| count(inode, inode, *total)).collect();
        self.now = at;
        self.groups.count(&counts, reading(at))
    }
}

#[test]
fn a_window_ends_after_ten_minutes_and_starts_from_what_was_counted() {
    let mut host = listeners(2);
    host.read(MINUTE, &[10, 12]);
    let spread = group(&host).spread().expect("connections are flows");
    assert_eq!((spread.flows, spread.imbalance_ratio), (22, Some(24.0 / 22.0)));
    host.read(WINDOW, &[20, 20]);
    assert_eq!(group(&host).spread().map(|spread| spread.flows), Some(0), "a new one");
    host.read(WINDOW + 1, &[23, 21]);
    let spread = group(&host).spread().expect("counted");
    assert_eq!((spread.flows, spread.p_value), (4, None), "too few for a p-value");
    let closed: Vec<_> = group(&host).closed_windows().copied().collect();
    assert_eq!(closed.len(), 1);
    assert_eq!((closed[0].flows, closed[0].members, closed[0].ended.0), (Some(40), 2, WINDOW));
    assert!(closed[0].p_value.is_some_and(|p| (p - 1.0).abs() < 1e-9));
}

#[test]
fn a_change_of_members_ends_it_and_no_flow_is_held_against_the_wrong_ones() {
    let mut host = listeners(2);
    host.read(MINUTE, &[500, 500]);
    host.now = 2 * MINUTE;
    host.put(listener(3));
    assert!(group(&host).window_began().is_none() && host.groups.wants_reading(None));
    assert_eq!(group(&host).closed_windows().map(|window| window.flows).collect::<Vec<_>>(), [Some(1000)]);
    // Of these some were selected before the third was there.
    host.read(3 * MINUTE, &[900, 900, 100]);
    assert!(!host.groups.wants_reading(None));
    assert_eq!(group(&host).spread().map(|spread| spread.flows), Some(0));
    host.read(4 * MINUTE, &[1000, 1000, 200]);
    let spread = group(&host).spread().expect("counted");
    assert_eq!((spread.flows, spread.p_value), (300, Some(1.0)));
    host.close(3);
    assert_eq!(group(&host).closed_windows().count(), 2);
    host.read(5 * MINUTE, &[1000, 1000]);
    assert_eq!(group(&host).window_began(), Some(Moment(5 * MINUTE)));
}

#[test]
fn sockets_opened_together_share_one_window_from_the_start() {
    let mut host = listeners(4);
    host.read(SECOND, &[1, 2, 3, 4]);
    assert_eq!(group(&host).spread().map(|spread| spread.flows), Some(10), "the first flows count");
    assert_eq!(group(&host).closed_windows().count(), 0);
}

#[test]
fn another_selector_ends_the_window_and_what_was_judged_under_the_last() {
    let mut host = listeners(2);
    for window in 1..=2 {
        host.read(window * WINDOW, &[window * 1000, 0]);
    }
    assert_eq!(group(&host).verdict(), Some(Verdict::Uneven));
    assert_eq!(group(&host).expected_share(), Some(0.5));
    let live = |selector, index| {
        let group = in_group(selector, index);
        Some(MemberGauges { drops: 0, queue: 0, queue_limit: 9, group })
    };
    for (selector, verdict, share) in
        [(Selector::ClassicBpf, Some(Verdict::UnevenBySelector), None), (Selector::Hash, None, Some(0.5))]
    {
        let counts = [1, 2]
            .map(|inode| MemberCount { live: live(selector, inode as u32 - 1), ..count(inode, inode, 5000) });
        let _ = host.groups.count(&counts, reading(3 * WINDOW));
        let group = group(&host);
        assert_eq!((group.verdict(), group.expected_share()), (verdict, share), "{selector:?}");
        assert_eq!(group.closed_windows().count(), 0);
        assert_eq!(group.spread().map(|spread| spread.flows), Some(0), "a new window");
    }
}

#[test]
fn facts_that_are_repeated_with_an_older_version_of_a_socket_are_no_news() {
    let mut host = listeners(2);
    let group_facts = in_group(Selector::Ebpf, 0);
    let live = Some(MemberGauges { drops: 0, queue: 0, queue_limit: 9, group: group_facts });
    let _ = host.groups.count(&[MemberCount { live, ..count(1, 1, 5) }], reading(SECOND));
    host.put_of(11, SocketFacts { group: in_group(Selector::Hash, 0), ..listener(1) });
    assert_eq!(group(&host).pick().map(|pick| pick.selector), Some(Selector::Ebpf));
}

#[test]
fn datagrams_are_no_flows_and_the_kernel_is_asked_to_count_them_anew() {
    let mut host = Host::default();
    host.put(udp_member(1, 53));
    host.put(udp_member(2, 53));
    let mut read = |at, flows: Option<[u64; 2]>, datagrams| {
        let flows = flows.map_or([None; 2], |flows| flows.map(Some));
        let counts: Vec<_> = (1..)
            .zip(flows)
            .map(|(inode, flows)| MemberCount { flows, ..count(inode, inode, datagrams * inode) })
            .collect();
        let memory = FlowMemory { entered: 64, trusted: 1000 };
        host.groups.count(&counts, Reading { at: Moment(at), flows: Some(memory) })
    };
    assert_eq!(read(MINUTE, Some([30, 34]), 100_000), [], "nothing of a window before");
    assert_eq!(read(WINDOW, Some([30, 34]), 200_000), [Counter(1), Counter(2)]);
    read(2 * WINDOW, Some([60, 68]), 300_000);
    let group = host.groups.iter().next().expect("one group");
    let closed: Vec<_> = group.closed_windows().map(|window| window.flows).collect();
    assert_eq!(closed, [Some(64), Some(64)]);
    assert_eq!(group.verdict(), Some(Verdict::Even), "twice the datagrams, as many flows");
}

#[test]
fn flows_that_are_not_told_apart_are_not_counted() {
    let mut host = Host::default();
    host.put(udp_member(1, 53));
    host.put(udp_member(2, 53));
    host.read(MINUTE, &[1000, 10]);
    assert_eq!(group(&host).spread(), None);
    host.read(WINDOW, &[1000, 10]);
    host.read(2 * WINDOW, &[9000, 10]);
    assert_eq!(group(&host).verdict(), None);
    assert_eq!(group(&host).closed_windows().map(|window| window.flows).collect::<Vec<_>>(), [None, None]);
}

#[test]
fn a_full_memory_of_flows_leaves_the_sample_that_was_read_before() {
    let mut host = Host::default();
    host.put(udp_member(1, 53));
    host.put(udp_member(2, 53));
    let mut read = |at, flows: [u64; 2], entered| {
        let counts: Vec<_> = (1..)
            .zip(flows)
            .map(|(inode, flows)| MemberCount { flows: Some(flows), ..count(inode, inode, flows) })
            .collect();
        let memory = FlowMemory { entered, trusted: 100 };
        let _ = host.groups.count(&counts, Reading { at: Moment(at), flows: Some(memory) });
        let fills = host.groups.wants_reading(Some(FlowMemory { entered: entered + 25, trusted: 100 }));
        (host.groups.iter().next().and_then(Group::spread).map(|spread| spread.flows), fills)
    };
    assert_eq!(read(SECOND, [0, 0], 0), (Some(0), true));
    assert_eq!(read(2 * SECOND, [40, 40], 80), (Some(80), true));
    assert_eq!(read(3 * SECOND, [400, 4000], 4400), (Some(80), false), "counted twice, for all we know");
    // A window of which nothing was read in time.
    assert_eq!(read(WINDOW + SECOND, [400, 4000], 4400), (Some(0), true));
    assert_eq!(read(WINDOW + 2 * SECOND, [900, 9000], 9900), (None, false));
}

#[test]
fn joins_and_leaves_tell_the_share_that_moves() {
    let mut host = Host::default();
    let mut moved = |change: &Change| {
        let mut events = Vec::new();
        host.groups.apply(change, Moment(0), &mut events);
        events.into_iter().next().expect("an event").moved_share
    };
    let facts = |inode: u64, index| SocketFacts { group: in_group(Selector::Hash, index), ..listener(inode) };
    let sockets: Vec<_> = (0..4).map(|index| socket(facts(u64::from(index) + 1, index), 10)).collect();
    let joined: Vec<_> = sockets.iter().map(|one| moved(&Change::Added(Arc::clone(one)))).collect();
    assert_eq!(joined, [None, Some(0.5), Some(0.5), Some(0.5)], "nobody was there for the first");
    // Index 0 of four; the last takes its place, so it is index 0 of three then.
    let first = moved(&Change::Removed(Arc::clone(&sockets[0]))).expect("the hash decides");
    assert!((first - (0.5 + 3.0 / 12.0)).abs() < 1e-12, "{first}");
    let last = moved(&Change::Removed(Arc::clone(&sockets[3]))).expect("the hash decides");
    assert!((last - (0.5 + 2.0 / 6.0)).abs() < 1e-12, "{last}");
    assert_eq!(moved(&Change::Removed(Arc::clone(&sockets[2]))), Some(0.5), "the last index");
    assert_eq!(moved(&Change::Removed(Arc::clone(&sockets[1]))), None, "nobody is left");
}

#[test]
fn where_the_hash_does_not_decide_alone_no_share_is_told() {
    for facts in [
        None,
        in_group(Selector::ClassicBpf, 1),
        in_group(Selector::IncomingCpu, 1),
        in_group(Selector::Hash, 1).map(|group| GroupFacts { has_connected: true, ..group }),
    ] {
        let mut host = Host::default();
        host.put(udp_member(1, 53));
        let mut events = Vec::new();
        let joining = socket(SocketFacts { group: facts, ..udp_member(2, 53) }, 10);
        host.groups.apply(&Change::Added(joining), Moment(0), &mut events);
        assert_eq!(events[0].moved_share, None, "{facts:?}");
    }
}

#[test]
fn an_index_follows_the_kernels_array_where_binds_were_seen() {
    let mut host = Host::default();
    for inode in 1..=4 {
        let bound = Socket::clone(&socket(udp_member(inode, 53), 10));
        host.apply(&Change::Added(Arc::new(Socket { since: Some(Moment(1)), ..bound })));
    }
    let indices = |host: &Host| group(host).members().map(|(_, member, _)| member.index).collect::<Vec<_>>();
    assert_eq!(indices(&host), [Some(0), Some(1), Some(2), Some(3)]);
    host.apply(&Change::Removed(socket(udp_member(2, 53), 10)));
    assert_eq!(indices(&host), [Some(0), Some(2), Some(1)], "the last moved to the free place");
    let live = Some(MemberGauges { drops: 0, queue: 0, queue_limit: 0, group: in_group(Selector::Hash, 0) });
    let _ = host.groups.count(&[MemberCount { live, ..count(4, 4, 1) }], reading(1));
    assert_eq!(indices(&host)[2], Some(0), "what the kernel says goes before");
}

#[test]
fn a_stalled_listener_is_told_by_its_queue() {
    let mut host = listeners(1);
    let mut read = |seconds: u64, selections, queue| {
        let live = Some(MemberGauges { drops: 0, queue, queue_limit: 4, group: None });
        let at = reading(seconds * SECOND);
        let _ = host.groups.count(&[MemberCount { live, ..count(1, 1, selections) }], at);
        let (_, member, _) = host.groups.iter().next().and_then(|group| group.members().next()).expect("one");
        (member.accepted(), member.is_stalled())
    };
    assert_eq!(read(0, 7, 5), (Some(2), false));
    assert_eq!(read(11, 7, 5), (Some(2), true));
    assert_eq!(read(12, 8, 5), (Some(3), false));
}
