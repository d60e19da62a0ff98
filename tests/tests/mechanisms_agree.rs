//! Every mechanism that can see selections counts the same: alone, against what each member got by its own count, and all
//! of them side by side.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context as _, Result, bail, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    generator::{self, Group, Share, Traffic},
    groups,
    namespace::Namespace,
    skip,
    sockets::{self, Transport},
};
use socket2::{SockAddr, Socket};

/// Each with what a daemon must do without to come to it.
const MECHANISMS: [(&str, &str); 3] =
    [("btf_tracepoint", ""), ("fentry", "sk_data_ready"), ("kprobe", "sk_data_ready,fentry")];

const MEMBERS: usize = 3;
const CONNECTIONS: usize = 90;
const DATAGRAMS: usize = 400;
/// Bytes of a receive buffer that a few datagrams fill.
const SMALL: usize = 4_096;
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// To all members at once.
const BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

/// What is sent to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connections(Transport),
    Datagrams,
    /// Datagrams nobody reads until the buffers are full
    TooManyDatagrams,
    /// Datagrams among broadcast copies
    Mixed,
    /// Broadcast copies until the buffers are full
    TooManyCopies,
}

/// A group and what each member was selected for.
#[derive(Debug)]
struct Scene {
    kind: Kind,
    group: Group,
    shares: Vec<Share>,
}

impl Scene {
    fn open(kind: Kind, address: IpAddr) -> Result<Self> {
        let transport = if let Kind::Connections(transport) = kind { transport } else { Transport::Udp };
        let group = Group::open(transport, address, MEMBERS)?;
        if matches!(kind, Kind::TooManyDatagrams | Kind::TooManyCopies) {
            for member in group.members() {
                member.set_recv_buffer_size(SMALL)?;
            }
        }
        let none = |member: &Socket| Ok(Share { inode: sockets::inode(member)?, taken: 0, dropped: 0 });
        let shares = group.members().iter().map(none).collect::<Result<_>>()?;
        Ok(Self { kind, group, shares })
    }

    /// One of each kind, in the calling thread's namespace.
    fn open_all() -> Result<Vec<Self>> {
        let mut scenes = Vec::new();
        for address in LOOPBACKS {
            for kind in
                [Kind::Connections(Transport::Tcp), Kind::Connections(Transport::Mptcp), Kind::Datagrams]
            {
                scenes.push(Self::open(kind, address)?);
            }
        }
        scenes.push(Self::open(Kind::TooManyDatagrams, LOOPBACKS[0])?);
        for kind in [Kind::Mixed, Kind::TooManyCopies] {
            scenes.push(Self::open(kind, Ipv4Addr::UNSPECIFIED.into())?);
        }
        Ok(scenes)
    }

    fn play(&mut self) -> Result<()> {
        let traffic = |read_late| Traffic { count: DATAGRAMS, threads: 2, read_late };
        let got = match self.kind {
            Kind::Connections(_) => generator::connections(&self.group, CONNECTIONS, 2)?,
            Kind::Datagrams => generator::datagrams(&self.group, traffic(false))?,
            Kind::TooManyDatagrams => generator::datagrams(&self.group, traffic(true))?,
            Kind::Mixed => mixed(&self.group)?,
            Kind::TooManyCopies => too_many_copies(&self.group)?,
        };
        for (share, got) in self.shares.iter_mut().zip(got) {
            share.taken += got.taken;
            share.dropped += got.dropped;
        }
        Ok(())
    }

    /// Has every other member given a cookie.
    fn ask_for_cookies(&self) -> Result<()> {
        self.group.members().iter().step_by(2).try_for_each(|member| sockets::cookie(member).map(drop))
    }

    fn assert_counted(&self, daemon: &Daemon, mechanism: &str) -> Result<()> {
        let shown = groups::of_inode(daemon, self.group.inode()?)?;
        let members = groups::members(&shown)?;
        for share in &self.shares {
            let member = members.get(&share.inode).with_context(|| format!("no {share:?} in {shown}"))?;
            assert_eq!(
                member.selections,
                share.taken + share.dropped,
                "{mechanism}, {:?}: {share:?} in {shown}",
                self.kind
            );
            if self.kind != Kind::TooManyCopies {
                assert_eq!(member.drops, share.dropped, "{mechanism}, {:?}: {share:?} in {shown}", self.kind);
            }
        }
        Ok(())
    }
}

fn sender() -> Result<Socket> {
    let sender = sockets::open(Transport::Udp, LOOPBACKS[0])?;
    sender.set_broadcast(true)?;
    Ok(sender)
}

/// Sends selections and copies by turns, each from a flow of its own; nothing is read before all were sent, so that the
/// newest datagram in a queue is the one that a socket is woken for.
fn mixed(group: &Group) -> Result<Vec<Share>> {
    const SENT: u64 = 60;
    let port = group.address().port();
    // The last are copies: a reader that is faster than the last wake-up leaves the one before to tell what it was.
    let is_copy = |number: u64| number * 7 % 5 < 2 || number + 2 >= SENT;
    for number in 0..SENT {
        let (target, payload): (_, &[u8]) =
            if is_copy(number) { (BROADCAST, b"copy") } else { (Ipv4Addr::LOCALHOST, b"u") };
        sender()?.send_to(payload, &SockAddr::from(SocketAddr::from((target, port))))?;
    }
    let copies = (0..SENT).filter(|number| is_copy(*number)).count() as u64;
    let mut read = vec![[0_u64; 2]; group.members().len()];
    deadline::until("every datagram", PROMPT, || {
        for (member, read) in group.members().iter().zip(&mut read) {
            receive_all(member, |length| read[usize::from(length == 1)] += 1)?;
        }
        let unicast: u64 = read.iter().map(|[_, unicast]| unicast).sum();
        let whole = read.iter().all(|[read, _]| *read == copies) && unicast == SENT - copies;
        Ok(whole.then_some(()))
    })?;
    let shares = group.members().iter().zip(read);
    shares
        .map(|(member, [_, taken])| Ok(Share { inode: sockets::inode(member)?, taken, dropped: 0 }))
        .collect()
}

/// Sends copies until each member has refused some; none of them is a selection.
fn too_many_copies(group: &Group) -> Result<Vec<Share>> {
    let target = SockAddr::from(SocketAddr::from((BROADCAST, group.address().port())));
    let dropped = || group.members().iter().map(sockets::drops).collect::<Result<Vec<u32>>>();
    let (before, sender) = (dropped()?, sender()?);
    deadline::until("every buffer is full", PROMPT, || {
        sender.send_to(&[0; 512], &target)?;
        let full = dropped()?.iter().zip(&before).all(|(now, before)| now - before >= 20);
        Ok(full.then_some(()))
    })?;
    for member in group.members() {
        receive_all(member, |_| {})?;
    }
    let none = |member: &Socket| Ok(Share { inode: sockets::inode(member)?, taken: 0, dropped: 0 });
    group.members().iter().map(none).collect()
}

fn receive_all(member: &Socket, mut each: impl FnMut(usize)) -> Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 512];
    loop {
        match member.recv(&mut buffer) {
            Ok(length) => each(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => bail!("receiving: {error}"),
        }
    }
}

/// A daemon that sees selections by this mechanism, or `None` where this kernel has it not.
fn start((mechanism, avoided): (&str, &str)) -> Result<Option<Daemon>> {
    let mut launch = Launch::prepare()?.context("no daemon")?;
    if !avoided.is_empty() {
        launch = launch.flags(["--trace.avoid", avoided]);
    }
    let daemon = launch.start()?;
    let tier = [("tier", "selection"), ("mechanism", mechanism)];
    let active = daemon.metrics()?.sum("reuse_daemon_tier_active", &tier).is_some_and(|active| active >= 1.0);
    Ok(active.then_some(daemon))
}

/// Opens groups before the daemons and after, plays everything twice, and compares what each daemon counted.
fn act(purpose: &str, mechanisms: &[(&str, &str)]) -> Result<usize> {
    let namespace = Namespace::new(purpose)?;
    let mut scenes = namespace.run(Scene::open_all)?;
    let mut daemons = Vec::new();
    for mechanism in mechanisms {
        daemons.extend(start(*mechanism)?.map(|daemon| (mechanism.0, daemon)));
    }
    if daemons.is_empty() {
        return Ok(0);
    }
    scenes.extend(namespace.run(Scene::open_all)?);
    for _ in 0..2 {
        namespace.run(|| scenes.iter_mut().try_for_each(Scene::play))?;
        for (mechanism, daemon) in &daemons {
            scenes.iter().try_for_each(|scene| scene.assert_counted(daemon, mechanism))?;
        }
        scenes.iter().try_for_each(Scene::ask_for_cookies)?;
    }
    let selected = scenes.iter().flat_map(|scene| &scene.shares).filter(|share| share.taken > 0).count();
    let entries = |daemon: &Daemon| {
        let entries = daemon.metrics()?.sum("reuse_daemon_map_entries", &[("map", "SELECTIONS")]);
        entries.context("no number of counters")
    };
    for (mechanism, daemon) in &daemons {
        let entries = entries(daemon)?;
        ensure!(entries >= selected as f64, "{mechanism}: {entries} counters of {selected} sockets");
    }
    let full: Vec<f64> = daemons.iter().map(|(_, daemon)| entries(daemon)).collect::<Result<_>>()?;
    drop(scenes);
    for ((mechanism, daemon), full) in daemons.iter().zip(full) {
        deadline::until(&format!("{mechanism} forgets the counters of closed sockets"), PROMPT, || {
            Ok((entries(daemon)? <= full - selected as f64).then_some(()))
        })?;
    }
    Ok(daemons.len())
}

/// One mechanism alone.
fn alone(number: usize) -> Result<()> {
    if skip::daemon_binary()?.is_none() {
        return Ok(());
    }
    let mechanism = MECHANISMS[number];
    if act("alone", &[mechanism])? == 0 {
        skip::skip(&format!("selections cannot be seen by {} here", mechanism.0));
    }
    Ok(())
}

#[test]
fn the_tracepoint_counts_what_every_member_got() -> Result<()> {
    alone(0)
}

#[test]
fn the_entries_of_functions_count_what_every_member_got() -> Result<()> {
    alone(1)
}

#[test]
fn probes_count_what_every_member_got() -> Result<()> {
    alone(2)
}

#[test]
fn all_mechanisms_side_by_side_count_the_same() -> Result<()> {
    if skip::daemon_binary()?.is_none() {
        return Ok(());
    }
    ensure!(act("together", &MECHANISMS)? > 0, "selections are seen by no mechanism at all");
    Ok(())
}
