//! Broadcast copies at a group, alone and among selections: every member gets each copy, and none is a selection.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Result, bail};
use socket2::{SockAddr, Socket};

use super::{Group, Share};
use crate::{
    deadline::{self, PROMPT},
    sockets::{self, Transport},
};

/// To all members at once.
const BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);
/// Refusals of each member that show that its buffer is full.
const REFUSED: u32 = 20;

/// A socket that may send to all.
fn sender() -> Result<Socket> {
    let sender = sockets::open(Transport::Udp, Ipv4Addr::LOCALHOST.into())?;
    sender.set_broadcast(true)?;
    Ok(sender)
}

/// Sends selections and copies by turns, each from a flow of its own; nothing is read before all were sent, so that the
/// newest datagram in a queue is the one that a socket is woken for.
///
/// # Errors
/// When not all arrive.
pub(super) fn mixed(group: &Group) -> Result<Vec<Share>> {
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
///
/// # Errors
/// When the buffers do not fill.
pub(super) fn too_many_copies(group: &Group) -> Result<Vec<Share>> {
    let target = SockAddr::from(SocketAddr::from((BROADCAST, group.address().port())));
    let dropped = || group.members().iter().map(sockets::drops).collect::<Result<Vec<u32>>>();
    let (before, sender) = (dropped()?, sender()?);
    deadline::until("every buffer is full", PROMPT, || {
        sender.send_to(&[0; 512], &target)?;
        let full = dropped()?.iter().zip(&before).all(|(now, before)| now.wrapping_sub(*before) >= REFUSED);
        Ok(full.then_some(()))
    })?;
    for member in group.members() {
        receive_all(member, |_| {})?;
    }
    group.untouched()
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
