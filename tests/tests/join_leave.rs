//! Which flows a member that joins or leaves moves: as the receivers see it, as the daemon's counts show it, and as the
//! ranges of the kernel's hash foretell it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::Daemon,
    deadline, effort,
    flows::{Flows, Order, Remap, join_share, leave_share, surprise},
    generator::Group,
    groups,
    namespace::Namespace,
    sockets::{self, Transport},
};
use serde_json::Value;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How rarely a right kernel and a right daemon may fail one of the comparisons.
const FALSE_ALARM: f64 = 1e-11;

#[derive(Debug, Clone, Copy)]
enum Step {
    Join,
    /// Of the member at this index of the kernel's array
    Leave(usize),
}

/// From two members to six, and back: the first leaves, the last but one, one between, the last.
const STEPS: [Step; 8] = [
    Step::Join,
    Step::Join,
    Step::Join,
    Step::Join,
    Step::Leave(0),
    Step::Leave(3),
    Step::Leave(1),
    Step::Leave(2),
];

/// Where each flow went, by source port.
type Places = BTreeMap<u16, u64>;

/// How many flows went from one member to another.
type Moves = BTreeMap<(u64, u64), u64>;

struct Run<'a> {
    daemon: &'a Daemon,
    namespace: &'a Namespace,
    group: Group,
    order: Order,
    places: Places,
}

impl Run<'_> {
    /// The daemon's count of each member, once it shows as many as there are.
    fn counts(&self) -> Result<BTreeMap<u64, u64>> {
        let members = deadline::until("the daemon knows the members", deadline::PROMPT, || {
            let members = groups::members(&groups::of_inode(self.daemon, self.group.inode()?)?)?;
            Ok(self.order.members().iter().all(|inode| members.contains_key(inode)).then_some(members))
        })?;
        assert_eq!(members.len(), self.order.members().len());
        Ok(members.into_iter().map(|(inode, member)| (inode, member.selections)).collect())
    }

    /// Adds or closes a member: the share of the flows that this is to move, by the closed form, which the daemon's event
    /// has as well.
    fn change(&mut self, step: Step) -> Result<f64> {
        let (change, inode, share) = match step {
            Step::Join => {
                let Self { namespace, group, .. } = self;
                namespace.run(|| group.join())?;
                let newest = self.group.members().last().context("a member that joined")?;
                let inode = sockets::inode(newest)?;
                self.order = self.order.join(inode);
                ("join", inode, join_share())
            }
            Step::Leave(index) => {
                let share = leave_share(self.order.members().len(), index);
                let inode = *self.order.members().get(index).context("a member that leaves")?;
                let inodes: Vec<u64> =
                    self.group.members().iter().map(sockets::inode).collect::<Result<_>>()?;
                self.group.leave(inodes.iter().position(|other| *other == inode).context("its place")?);
                self.order = self.order.leave(index);
                ("leave", inode, share)
            }
        };
        // From the newest on: each flow's bind is an event as well.
        let event = deadline::until(change, deadline::PROMPT, || {
            let is_it = |event: &Arc<Value>| {
                event["type"] == "group" && event["change"] == change && event["inode"] == inode
            };
            Ok(self.daemon.events()?.into_iter().rev().find(is_it))
        })?;
        let told = event["moved_share"].as_f64().with_context(|| format!("no share in {event}"))?;
        assert!((told - share).abs() < 1e-9, "{share} by the closed form: {event}");
        Ok(share)
    }

    /// Sends every flow again, those of one former receiver after those of another: what went where by the receivers'
    /// account and by the daemon's.
    fn send_again(&mut self, before: &Order) -> Result<(Moves, Moves)> {
        let (mut received, mut counted) = (Moves::new(), Moves::new());
        let mut counts = self.counts()?;
        let places = self.places.clone();
        for from in before.members() {
            let flows: Vec<u16> =
                places.iter().filter(|(_, place)| *place == from).map(|(port, _)| *port).collect();
            for (port, to) in deliver(self.namespace, &self.group, flows)? {
                *received.entry((*from, to)).or_default() += 1;
                self.places.insert(port, to);
            }
            let now = self.counts()?;
            for (to, count) in &now {
                let more = count - counts.get(to).context("a member from before")?;
                if more > 0 {
                    counted.insert((*from, *to), more);
                }
            }
            counts = now;
        }
        Ok((received, counted))
    }
}

fn deliver(
    namespace: &Namespace,
    group: &Group,
    flows: impl IntoIterator<Item = u16> + Send,
) -> Result<Places> {
    namespace.run(|| flows.into_iter().map(|port| Ok((port, group.deliver(port)?))).collect())
}

fn moved(moves: &Moves) -> u64 {
    moves.iter().filter(|((from, to), _)| from != to).map(|(_, flows)| flows).sum()
}

fn flows_move_as_foretold(transport: Transport) -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let namespace = Namespace::new("flows")?;
    let count = effort::fewer(3_000_u16, "flows");
    let group = namespace.run(|| Group::open(transport, LOOPBACK, 2))?;
    let order = Order::of(group.members().iter().map(sockets::inode).collect::<Result<_>>()?);
    let places = deliver(&namespace, &group, Flows::new(count).ports())?;
    let mut run = Run { daemon: &daemon, namespace: &namespace, group, order, places };

    let (received, _) = run.send_again(&run.order.clone())?;
    assert_eq!(moved(&received), 0, "without a change of members a flow stays: {received:?}");
    for step in STEPS {
        let before = run.order.clone();
        let share = run.change(step)?;
        let (received, counted) = run.send_again(&before)?;
        let told = format!("{step:?} with {} members, {received:?}", before.members().len());
        assert_eq!(counted, received, "the daemon's counts and the receivers': {told}");

        let remap = Remap::new(&before, &run.order);
        let strays: Vec<_> = received.keys().filter(|(from, to)| !remap.allows(*from, *to)).collect();
        assert!(strays.is_empty(), "ranges that do not touch exchange no flow: {strays:?}, {told}");
        let moved = usize::try_from(moved(&counted))?;
        let chance = surprise(usize::from(count), moved, share);
        println!("{step:?} of {}: {moved} of {count} moved, {share:.4} foretold", before.members().len());
        assert!(chance > FALSE_ALARM, "{moved} of {count} moved, {share} foretold ({chance:e}): {told}");
    }
    Ok(())
}

#[test]
fn datagram_flows_move_as_foretold() -> Result<()> {
    flows_move_as_foretold(Transport::Udp)
}

#[test]
fn connection_flows_move_as_foretold() -> Result<()> {
    flows_move_as_foretold(Transport::Tcp)
}
