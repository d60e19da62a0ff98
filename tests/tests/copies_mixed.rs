//! Broadcast copies and selections at the same members at the same time, from two senders, while readers race for them.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use reuse_tests::{
    daemon::Launch,
    generator::Group,
    groups,
    namespace::Namespace,
    sockets::{self, Transport},
};
use socket2::{SockAddr, Socket};

const MEMBERS: usize = 3;
const COPIES: u64 = 1_500;
const UNICAST: u64 = 6_000;
/// A wake-up does not say for which datagram it is, so where both kinds race a few are taken for the other kind: a
/// percent or so, far from all the copies.
const SLACK: u64 = COPIES / 10;
const FLOWS: usize = 64;
/// Room for everything sent, so that nothing is dropped even if a reader sleeps all along.
const BUFFER: i32 = 16 << 20;
/// How long a reader waits for a datagram before the run counts as over.
const QUIET: Duration = Duration::from_millis(500);

/// What one member received, told apart by length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Received {
    unicast: u64,
    copies: u64,
}

fn send(target: SocketAddr, count: u64, payload: &[u8]) -> Result<()> {
    let flows: Vec<Socket> = (0..FLOWS)
        .map(|_| {
            let flow = sockets::open(Transport::Udp, target.ip())?;
            flow.set_broadcast(true)?;
            Ok(flow)
        })
        .collect::<Result<_>>()?;
    for (flow, _) in flows.iter().cycle().zip(0..count) {
        flow.send_to(payload, &SockAddr::from(target)).with_context(|| format!("sending to {target}"))?;
    }
    Ok(())
}

fn receive(member: &Socket) -> Result<Received> {
    let mut received = Received { unicast: 0, copies: 0 };
    let mut buffer = [MaybeUninit::uninit(); 16];
    loop {
        match member.recv(&mut buffer) {
            Ok(1) => received.unicast += 1,
            Ok(_) => received.copies += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(received),
            Err(error) => bail!("receiving: {error}"),
        }
    }
}

fn traffic(group: &Group) -> Result<Vec<Received>> {
    for member in group.members() {
        sockets::set(member, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
        member.set_nonblocking(false)?;
        member.set_read_timeout(Some(QUIET))?;
    }
    let port = group.address().port();
    thread::scope(|scope| {
        let readers: Vec<_> =
            group.members().iter().map(|member| scope.spawn(move || receive(member))).collect();
        let senders = [
            scope.spawn(move || send((Ipv4Addr::new(127, 255, 255, 255), port).into(), COPIES, b"copy")),
            scope.spawn(move || send((Ipv4Addr::LOCALHOST, port).into(), UNICAST, b"u")),
        ];
        for sender in senders {
            sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[test]
fn copies_among_selections_are_told_apart() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("mixed")?;
    let daemon = launch.start()?;
    let (group, received) = namespace.run(|| {
        let group = Group::open(Transport::Udp, Ipv4Addr::UNSPECIFIED.into(), MEMBERS)?;
        let received = traffic(&group)?;
        Ok((group, received))
    })?;
    assert_eq!(received.iter().map(|one| one.unicast).sum::<u64>(), UNICAST, "{received:?}");
    assert!(received.iter().all(|one| one.copies == COPIES), "{received:?}");

    let shown = groups::members(&groups::of_inode(&daemon, group.inode()?)?)?;
    for (member, got) in group.members().iter().zip(&received) {
        let inode = sockets::inode(member)?;
        let entry = shown.get(&inode).with_context(|| format!("no member {inode} in {shown:?}"))?;
        assert!(entry.selections.abs_diff(got.unicast) <= SLACK, "{got:?}, shown as {entry:?}");
    }
    Ok(())
}
