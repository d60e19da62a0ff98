//! Sockets on the port that no descriptor of the scenario shows: connections nobody accepted yet, and what a closed
//! connection leaves.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use reuse_model::{endpoint::Family, port::Reuse, socket::State};

use super::{Entry, Facts, World, plain};
use crate::{destroy::destroy, scenario::Slot, system};

/// What decides whether two sockets may share, and where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) family: Family,
    pub(crate) address: IpAddr,
    pub(crate) reuse: Reuse,
    pub(crate) reuseport: bool,
    pub(crate) v6only: bool,
    pub(crate) device: u32,
    pub(crate) uid: u32,
}

/// How a connection's other end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Closed,
    /// Reset, or in some other way that leaves open what became of this end
    Unclear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In a listener's queue
    Unaccepted,
    /// What a bound socket leaves when it shut down its side and the other end followed: the socket keeps the port
    /// beside it
    Twin(Slot),
    /// It was accepted, and has a descriptor
    Accepted(Slot),
    /// It was destroyed, or never came to be
    Destroyed,
    /// Closed by the scenario
    Orphan {
        /// Its end waits behind data that the other end does not read
        filled: bool,
        /// The other end had ended first, so that nothing is left to wait for
        ended_last: bool,
    },
}

/// A socket without a descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Ghost {
    pub(super) kind: Kind,
    /// What it may look like: a connection has the options of its listener, of which several may have got it
    pub(crate) shapes: Vec<Shape>,
    /// Local address and port
    pub(crate) local: SocketAddr,
    /// Address and port of the other end
    pub(crate) remote: SocketAddr,
    /// The other end
    pub(super) peer: Slot,
    pub(super) end: End,
}

/// Whether a ghost is on the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likelihood {
    /// It is, in one of these states
    Certain(&'static [State]),
    /// It may be, or have gone
    Possible,
}

impl World<'_> {
    /// Notes how the socket in a slot ended its connections.
    pub(super) fn ended(&mut self, slot: Slot, end: End) {
        let open = |ghost: &&mut Ghost| ghost.peer == slot && ghost.end == End::Open;
        for ghost in self.ghosts.iter_mut().filter(open) {
            ghost.end = end;
        }
    }

    /// Notes that the socket in a slot reset its connections: nobody will accept them.
    pub(super) fn resets(&mut self, slot: Slot) {
        let waiting = |ghost: &&mut Ghost| {
            ghost.peer == slot && ghost.end == End::Open && ghost.kind == Kind::Unaccepted
        };
        for ghost in self.ghosts.iter_mut().filter(waiting) {
            ghost.kind = Kind::Destroyed;
        }
        self.ended(slot, End::Unclear);
    }

    /// Notes that a socket may not end its connections as `close` does.
    pub(super) fn mute(&mut self, slot: Slot) {
        self.ended(slot, End::Unclear);
        for ghost in self.ghosts.iter_mut().filter(|ghost| ghost.kind == Kind::Twin(slot)) {
            ghost.end = End::Unclear;
        }
        if let Some(entry) = self.entries.get_mut(&slot) {
            entry.muted = true;
        }
    }

    /// Takes a ghost off the port, or, if it had gone already, one that looks the same and must have been meant.
    ///
    /// # Errors
    /// The kernel was built without SOCK_DESTROY.
    pub(crate) fn destroy(&mut self, number: usize) -> Result<()> {
        let alike = self.look_alikes(number)?;
        for place in [number].into_iter().chain(alike) {
            if self.is_off_its_socket(place)?
                && self.ghosts.get_mut(place).map(Ghost::destroy).transpose()? == Some(true)
            {
                break;
            }
        }
        Ok(())
    }

    /// The other ghosts that a ghost may be taken for.
    pub(super) fn look_alikes(&self, number: usize) -> Result<Vec<usize>> {
        let shapes = &self.ghosts.get(number).context("a ghost that there never was")?.shapes;
        let alike = |ghost: &Ghost| ghost.shapes.iter().any(|shape| shapes.contains(shape));
        let places = self.ghosts.iter().enumerate().filter(|(place, ghost)| *place != number && alike(ghost));
        Ok(places.map(|(place, _)| place).collect())
    }

    /// Whether a ghost has its two ends for itself: those of a twin are an open socket's before it is there.
    fn is_off_its_socket(&self, place: usize) -> Result<bool> {
        Ok(match self.ghosts.get(place).map(|ghost| ghost.kind) {
            Some(Kind::Twin(slot)) => {
                let state = self.entries.get(&slot).map(Entry::tcp_state).transpose()?;
                state.is_none_or(|state| state == system::CLOSE)
            }
            Some(Kind::Unaccepted | Kind::Orphan { .. }) => true,
            Some(Kind::Accepted(_) | Kind::Destroyed) | None => false,
        })
    }

    /// Whether a connection with these two ends is there, or may have left something.
    pub(super) fn uses(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let left = |ghost: &Ghost| (plain(ghost.local), plain(ghost.remote)) == (local, remote);
        let open = |entry: &Entry| {
            let ends = system::local(&entry.socket).ok().zip(system::remote(&entry.socket));
            ends.is_some_and(|(here, there)| (plain(here), plain(there)) == (local, remote))
        };
        self.ghosts.iter().any(left) || self.entries.values().any(open)
    }

    /// What a socket will leave has the options it has when it goes.
    pub(super) fn twin_looks_like(&mut self, slot: Slot, facts: Option<&Facts>) {
        for ghost in self.ghosts.iter_mut().filter(|ghost| ghost.kind == Kind::Twin(slot)) {
            if ghost.end == End::Open {
                ghost.shapes.clear();
            }
            if ghost.end != End::Closed {
                ghost.shapes.extend(facts.map(|facts| facts.shape.clone()));
            }
        }
    }

    /// Forgets what the socket in a slot would have left, since it does not go that way.
    pub(super) fn forget_twin(&mut self, slot: Slot) {
        let twin = |ghost: &&mut Ghost| ghost.kind == Kind::Twin(slot) && ghost.end == End::Open;
        for ghost in self.ghosts.iter_mut().filter(twin) {
            ghost.kind = Kind::Destroyed;
        }
    }
}

impl Ghost {
    /// Whether it is no more, or a descriptor shows it by now.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.kind, Kind::Accepted(_) | Kind::Destroyed)
    }

    /// Takes it off the port; whether it was there.
    ///
    /// # Errors
    /// As [`destroy`].
    fn destroy(&mut self) -> Result<bool> {
        self.kind = Kind::Destroyed;
        let mut was_there = false;
        for shape in &self.shapes {
            was_there |= destroy(self.local, self.remote, shape.device).context("SOCK_DESTROY")?;
        }
        Ok(was_there)
    }

    /// Whether it is a connection not accepted yet.
    pub(crate) fn is_unaccepted(&self) -> bool {
        self.kind == Kind::Unaccepted
    }

    /// What its other end tells of it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn likelihood(&self, world: &World<'_>) -> Result<Likelihood> {
        // In TCP_REPAIR a socket goes without a word to the other end.
        if self.shapes.iter().any(|shape| shape.reuse == Reuse::Forced) {
            return Ok(Likelihood::Possible);
        }
        let peer = world.entries.get(&self.peer);
        let peer = peer.map(Entry::tcp_state).transpose()?;
        Ok(match (self.kind, self.end, peer) {
            (
                Kind::Unaccepted,
                End::Open,
                Some(system::ESTABLISHED | system::FIN_WAIT1 | system::FIN_WAIT2),
            ) => Likelihood::Certain(&[State::Connected]),
            (Kind::Orphan { filled: true, ended_last: false }, End::Open, Some(system::ESTABLISHED)) => {
                Likelihood::Certain(&[State::Closing])
            }
            (Kind::Orphan { ended_last: false, .. }, End::Open, Some(system::CLOSE_WAIT)) => {
                Likelihood::Certain(&[State::Closing, State::TimeWait])
            }
            (Kind::Orphan { filled: false, ended_last: false }, End::Closed, _) => {
                Likelihood::Certain(&[State::TimeWait])
            }
            (Kind::Twin(_), End::Closed, _) => Likelihood::Certain(&[State::TimeWait]),
            _ => Likelihood::Possible,
        })
    }
}
