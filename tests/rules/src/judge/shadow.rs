//! The reading of a port against what the scenario knows to be there: nothing missing, nothing invented, every option
//! as the socket itself tells it.

use std::{
    fmt,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use reuse_daemon::kernel::port_reader::Asked;
use reuse_model::{
    endpoint::{Protocol, Transport},
    port::{Occupant, Tenure},
    rulebook::Contender,
    socket::State,
};

use super::matching;
use crate::{
    overlap::overlap,
    scenario::Slot,
    world::{Facts, Ghost, Likelihood, Shape, World},
};

const POLL: Duration = Duration::from_millis(1);
/// A TIME_WAIT lasts a minute (`TCP_TIMEWAIT_LEN`, include/net/tcp.h).
const TIME_WAIT: Duration = Duration::from_secs(60);

/// Whom an occupant of the port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// An open socket
    Open(Slot),
    /// Place among the ghosts
    Ghost(usize),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(slot) => slot.fmt(f),
            Self::Ghost(_) => f.write_str("without descriptor"),
        }
    }
}

/// What the scenario says to a reading.
pub(super) struct Shadow {
    who: Vec<Option<Who>>,
    complaint: Option<String>,
}

impl Shadow {
    /// The first thing that is wrong with the reading.
    pub(super) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// Whom the occupant in that place is.
    pub(super) fn who(&self, place: usize) -> Option<Who> {
        self.who.get(place).copied().flatten()
    }

    fn complain(&mut self, what: impl FnOnce() -> String) {
        if self.complaint.is_none() {
            self.complaint = Some(what());
        }
    }
}

/// Reads until the reading is right, or has been wrong for so long that it will stay so.
pub(super) fn settled(
    world: &World<'_>,
    slot: Slot,
    number: u16,
    patience: Duration,
    mut read: impl FnMut() -> Result<Asked>,
) -> Result<(Asked, Shadow)> {
    let mut began = None;
    loop {
        let asked = read()?;
        let shadow = look(world, slot, number, &asked)?;
        let began = *began.get_or_insert_with(Instant::now);
        if shadow.complaint.is_none() || began.elapsed() > patience {
            return Ok((asked, shadow));
        }
        thread::sleep(POLL);
    }
}

fn look(world: &World<'_>, slot: Slot, number: u16, asked: &Asked) -> Result<Shadow> {
    let port = &asked.port;
    let mut shadow = Shadow { who: vec![None; port.occupants.len()], complaint: None };
    if port.truncated || port.disturbed {
        shadow.complain(|| "not the whole port was read".to_owned());
    }
    let own = contender(world, slot, asked)?;
    let mptcp = world.entries.get(&slot).is_some_and(|entry| entry.protocol == Protocol::Mptcp);
    if !alike(&own, &asked.contender, mptcp) {
        shadow.complain(|| format!("the contender is {own:?}"));
    }
    open_sockets(world, slot, number, asked, &own, &mut shadow)?;
    if world.transport == Transport::Tcp && number == world.port {
        ghosts(world, asked, &own, &mut shadow)?;
    }
    for (place, occupant) in port.occupants.iter().enumerate() {
        if shadow.who(place).is_none() {
            shadow.complain(|| format!("nobody is occupant {place}, {occupant:?}"));
        }
    }
    Ok(shadow)
}

/// The contender as the scenario knows it.
fn contender(world: &World<'_>, slot: Slot, asked: &Asked) -> Result<Shape> {
    let entry = world.entries.get(&slot).context("a contender in an empty slot")?;
    let shape = entry.shape(asked.contender.address)?;
    anyhow::ensure!(shape.family == asked.contender.family, "the reader took the socket for another family");
    Ok(shape)
}

/// The uid of an MPTCP socket's subflow is that of whoever made it, which the socket itself does not tell.
fn alike(shape: &Shape, contender: &Contender, mptcp: bool) -> bool {
    let Contender { family, address, reuse, reuseport, v6only, device, uid, .. } = contender;
    let read = Shape {
        family: *family,
        address: *address,
        reuse: *reuse,
        reuseport: *reuseport,
        v6only: *v6only,
        device: *device,
        uid: if mptcp { shape.uid } else { *uid },
    };
    *shape == read
}

/// Every open socket that must be there is, and looks as it says of itself.
fn open_sockets(
    world: &World<'_>,
    slot: Slot,
    number: u16,
    asked: &Asked,
    own: &Shape,
    shadow: &mut Shadow,
) -> Result<()> {
    for (other, facts) in world.on_port(number)? {
        let place = asked.port.occupants.iter().position(|occupant| occupant.inode.0 == facts.inode);
        match place {
            Some(place) if other == slot => shadow.complain(|| format!("occupant {place} is the contender")),
            Some(place) => {
                let protocol = world.entries.get(&other).map_or(Protocol::Other, |entry| entry.protocol);
                let shown = asked.port.occupants.get(place);
                if shown.is_some_and(|occupant| !shows(occupant, &facts, protocol)) {
                    shadow.complain(|| format!("occupant {place} is {other}, {facts:?}"));
                }
                if let Some(who) = shadow.who.get_mut(place) {
                    *who = Some(Who::Open(other));
                }
            }
            None if other != slot && overlap(own, &facts.shape) => {
                shadow.complain(|| format!("{other} is missing, {facts:?}"));
            }
            None => {}
        }
    }
    Ok(())
}

fn shows(occupant: &Occupant, facts: &Facts, protocol: Protocol) -> bool {
    let shape = &facts.shape;
    // As for the contender.
    let uid = protocol == Protocol::Mptcp || occupant.uid == Some(shape.uid);
    let same = (occupant.family, occupant.address, occupant.reuse, occupant.reuseport, occupant.v6only)
        == (shape.family, shape.address, shape.reuse, shape.reuseport, shape.v6only);
    same && uid
        && occupant.device == shape.device
        && occupant.state == facts.state
        && occupant.tenure == Tenure::Held
        && !occupant.kernel
        && occupant.expires_in.is_none()
}

/// Sockets without a descriptor: those that must be there first, then those that may.
fn ghosts(world: &World<'_>, asked: &Asked, own: &Shape, shadow: &mut Shadow) -> Result<()> {
    let mut likely = Vec::new();
    for (number, ghost) in world.ghosts.iter().enumerate().filter(|(_, ghost)| !ghost.is_gone()) {
        likely.push((number, ghost, ghost.likelihood(world)?));
    }
    likely.sort_by_key(|(_, _, likelihood)| *likelihood == Likelihood::Possible);
    let occupants = &asked.port.occupants;
    let fits: Vec<Vec<usize>> = likely
        .iter()
        .map(|(_, ghost, likelihood)| {
            let free = |place: &usize| shadow.who(*place).is_none();
            let there = |place: &usize| occupants.get(*place).is_some_and(|it| is(it, ghost, *likelihood));
            (0..occupants.len()).filter(free).filter(there).collect()
        })
        .collect();
    let assigned = matching::assign(&fits, occupants.len());
    for (place, at) in assigned.iter().enumerate() {
        if let (Some((number, _, _)), Some(who)) =
            (at.and_then(|at| likely.get(at)), shadow.who.get_mut(place))
        {
            *who = Some(Who::Ghost(*number));
        }
    }
    for (at, (_, ghost, likelihood)) in likely.iter().enumerate() {
        let certain = *likelihood != Likelihood::Possible;
        if certain && !assigned.contains(&Some(at)) && ghost.shapes.iter().all(|shape| overlap(own, shape)) {
            shadow.complain(|| format!("missing: {ghost:?}, {likelihood:?}"));
        }
    }
    Ok(())
}

/// Whether an occupant may be that ghost.
fn is(occupant: &Occupant, ghost: &Ghost, likelihood: Likelihood) -> bool {
    let tenure = if ghost.is_unaccepted() { Tenure::Unaccepted } else { Tenure::Orphan };
    let state = match likelihood {
        Likelihood::Certain(states) => states.contains(&occupant.state),
        Likelihood::Possible => true,
    };
    state
        && occupant.tenure == tenure
        && occupant.inode.0 == 0
        && ghost.shapes.iter().any(|shape| left_by(occupant, shape))
}

fn left_by(occupant: &Occupant, shape: &Shape) -> bool {
    let time_wait = occupant.state == State::TimeWait;
    let uid = if time_wait { occupant.uid.is_none() } else { occupant.uid == Some(shape.uid) };
    let left = occupant.expires_in.is_some_and(|left| left <= TIME_WAIT);
    let address: IpAddr = occupant.address;
    (occupant.family, address, occupant.reuse, occupant.reuseport, occupant.v6only)
        == (shape.family, shape.address, shape.reuse, shape.reuseport, shape.v6only)
        && occupant.device == shape.device
        && uid
        && left == time_wait
        && !occupant.kernel
}
