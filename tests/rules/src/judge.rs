//! Plays a scenario, and holds what the rulebook predicts of each `bind` and `listen` against what the kernel answers.

mod after;
mod blockers;
mod foreseen;
mod matching;
mod prediction;
mod remedies;
mod shadow;

use std::{fmt, net::SocketAddr, os::fd::AsFd as _, time::Duration};

use anyhow::{Context as _, Error, Result};
use reuse_daemon::kernel::port_reader::PortReader;
use reuse_model::{
    endpoint::{Endpoint, Protocol},
    port::Port,
    rulebook::{self, Kernel, Request},
};

use self::prediction::Prediction;
use crate::{
    refusals::{Refusal, Refusals},
    room::Room,
    scenario::{Scenario, Slot, Step, Trial},
    system,
    tally::Tally,
    world::World,
};

/// Where prediction and kernel part.
#[derive(Debug)]
pub(crate) struct Disagreement {
    /// The step at which they do
    pub(crate) step: usize,
    /// What each says, and what the prediction rests on
    pub(crate) what: String,
}

/// What plays scenarios: one for each thread.
pub(crate) struct Judge<'a> {
    pub(crate) reader: &'a mut PortReader,
    pub(crate) kernel: &'a Kernel,
    pub(crate) tally: &'a mut Tally,
    pub(crate) refusals: &'a mut Refusals,
    /// How long a reading may be wrong before it counts
    pub(crate) patience: Duration,
}

/// Why a scenario was not played to its end.
enum Stop {
    Disagrees(String),
    /// The port changed between the reading and the call
    Raced,
    Fails(Error),
}

type Verdict<T = ()> = Result<T, Stop>;

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fails(error.into())
    }
}

fn disagree<T>(what: impl fmt::Display) -> Verdict<T> {
    Err(Stop::Disagrees(what.to_string()))
}

/// A call that the kernel answered as predicted.
enum Answer {
    /// It succeeded, or failed for a reason that has nothing to do with other sockets
    Other,
    /// The address is in use
    Refused(Box<Prediction>),
}

impl Judge<'_> {
    /// Plays a scenario in the namespaces of the thread.
    ///
    /// # Errors
    /// Where something fails that has nothing to do with the rulebook.
    pub(crate) fn play(&mut self, room: &Room, scenario: &Scenario) -> Result<Option<Disagreement>> {
        let mut world = World::new(room, scenario)?;
        for (number, step) in scenario.steps.iter().enumerate() {
            match self.step(&mut world, *step) {
                Ok(()) => {}
                Err(Stop::Raced) => {
                    self.tally.raced += 1;
                    return Ok(None);
                }
                Err(Stop::Disagrees(what)) => return Ok(Some(Disagreement { step: number, what })),
                Err(Stop::Fails(error)) => {
                    return Err(error.context(format!("step {number} of the scenario\n{scenario}")));
                }
            }
        }
        self.tally.scenarios += 1;
        Ok(None)
    }

    fn step(&mut self, world: &mut World<'_>, step: Step) -> Verdict {
        let done = match step {
            Step::Bind { slot, address, neighbour, trial } => {
                let address = SocketAddr::new(address, world.neighbour(neighbour));
                match self.bind(world, slot, address)? {
                    None => false,
                    Some(answer) => {
                        self.try_refusal(world, answer, trial)?;
                        true
                    }
                }
            }
            Step::Listen { slot, trial } => match self.listen(world, slot)? {
                None => false,
                Some(answer) => {
                    self.try_refusal(world, answer, trial)?;
                    true
                }
            },
            other => world.act(other)?,
        };
        self.tally.steps += u64::from(done);
        Ok(())
    }

    fn try_refusal(&mut self, world: &mut World<'_>, answer: Answer, trial: Trial) -> Verdict {
        match (answer, trial) {
            (Answer::Other, _) | (_, Trial::None) => Ok(()),
            (Answer::Refused(prediction), Trial::Blockers(pick)) => {
                self.try_blockers(world, *prediction, usize::from(pick))
            }
            (Answer::Refused(prediction), Trial::Remedies(pick)) => {
                self.try_remedies(world, &prediction, usize::from(pick))
            }
        }
    }

    /// Binds, if the slot has a socket.
    fn bind(&mut self, world: &mut World<'_>, slot: Slot, address: SocketAddr) -> Verdict<Option<Answer>> {
        let Some(entry) = world.entries.get(&slot) else { return Ok(None) };
        let foreseen = foreseen::bind(entry, address, world.room.equipment())?;
        // The subflow that holds an MPTCP socket's port is made under the uid of whoever binds.
        let (_, uid) = system::identity(&entry.socket)?;
        let caller = if entry.protocol == Protocol::Mptcp { uid } else { 0 };
        let call = |world: &mut World<'_>| {
            let Some(entry) = world.entries.get_mut(&slot) else { return libc::EBADF };
            let errno = system::under(caller, || system::bind(&entry.socket, address));
            entry.bound |= errno == 0;
            errno
        };
        self.tally.binds += 1;
        if let Some(expected) = foreseen {
            let errno = call(world);
            self.note(world, slot, Request::Bind, address, errno, None)?;
            return agreed(expected, errno, || format!("bind {slot} to {address}")).map(Some);
        }
        let prediction = self.predict(world, slot, Request::Bind, address)?;
        let errno = call(world);
        self.compare(world, prediction, errno).map(Some)
    }

    /// Listens, if the slot has a socket with a port of its own.
    fn listen(&mut self, world: &mut World<'_>, slot: Slot) -> Verdict<Option<Answer>> {
        let Some(entry) = world.entries.get(&slot).filter(|entry| entry.bound) else { return Ok(None) };
        let address = system::local(&entry.socket)?;
        let foreseen = foreseen::listen(entry)?;
        let call = |world: &World<'_>| {
            world.entries.get(&slot).map_or(libc::EBADF, |entry| system::listen(&entry.socket))
        };
        self.tally.listens += 1;
        if let Some(expected) = foreseen {
            let errno = call(world);
            self.note(world, slot, Request::Listen, address, errno, None)?;
            return agreed(expected, errno, || format!("listen {slot} on {address}")).map(Some);
        }
        let prediction = self.predict(world, slot, Request::Listen, address)?;
        let errno = call(world);
        self.compare(world, prediction, errno).map(Some)
    }

    /// Reads the port, checks the reading, and decides.
    fn predict(
        &mut self,
        world: &World<'_>,
        slot: Slot,
        request: Request,
        address: SocketAddr,
    ) -> Verdict<Prediction> {
        let entry = world.entries.get(&slot).context("predicting for an empty slot")?;
        let endpoint = Endpoint { address: address.ip(), port: address.port() };
        self.tally.predictions += 1;
        let (asked, shadow) = shadow::settled(world, slot, address.port(), self.patience, || {
            self.tally.readings += 1;
            self.reader.ask(entry.socket.as_fd(), request, endpoint).context("reading the port")
        })?;
        let decision = rulebook::decide(self.kernel, request, &asked.contender, &asked.port);
        let prediction = Prediction { request, slot, address, asked, decision, shadow };
        if let Some(complaint) = prediction.shadow.complaint() {
            return disagree(format!("the port as read is not what is on it: {complaint}\n{prediction}"));
        }
        Ok(prediction)
    }

    fn compare(&mut self, world: &World<'_>, prediction: Prediction, errno: i32) -> Verdict<Answer> {
        let Prediction { slot, request, address, .. } = prediction;
        self.note(world, slot, request, address, errno, Some(&prediction))?;
        let expected = if prediction.decision.refused { libc::EADDRINUSE } else { 0 };
        if expected != errno {
            if self.has_changed(world, &prediction)? {
                return Err(Stop::Raced);
            }
            return disagree(format!(
                "{request:?} {slot}, {address}: predicted {}, the kernel says {}\n{prediction}",
                name(expected),
                name(errno)
            ));
        }
        self.tally.decided(&prediction.decision);
        if errno != 0 {
            return Ok(Answer::Refused(Box::new(prediction)));
        }
        if request == Request::Bind {
            self.check_after(world, &prediction)?;
        }
        Ok(Answer::Other)
    }

    /// Whether other sockets are on the port than when it was read.
    fn has_changed(&mut self, world: &World<'_>, prediction: &Prediction) -> Result<bool> {
        let entry = world.entries.get(&prediction.slot).context("the contender went")?;
        // A bound socket asks as a listener does, which leaves out the same one: itself.
        let request = if entry.bound { Request::Listen } else { Request::Bind };
        let endpoint = Endpoint { address: prediction.address.ip(), port: prediction.address.port() };
        let now = self.reader.ask(entry.socket.as_fd(), request, endpoint).context("reading the port")?;
        let sockets = |port: &Port| {
            let mut sockets: Vec<_> = port.occupants.iter().map(|it| (it.inode, it.state, it.uid)).collect();
            sockets.sort();
            sockets
        };
        Ok(sockets(&now.port) != sockets(&prediction.asked.port))
    }

    /// Tells of a refused call, for whoever holds it against what a daemon said.
    fn note(
        &mut self,
        world: &World<'_>,
        slot: Slot,
        request: Request,
        address: SocketAddr,
        errno: i32,
        prediction: Option<&Prediction>,
    ) -> Result<()> {
        if errno == 0 || !self.refusals.wanted() {
            return Ok(());
        }
        let inode = world.entries.get(&slot).map_or(0, |entry| entry.inode);
        let explained = prediction.map(|prediction| (&prediction.asked.port, &prediction.decision));
        self.refusals.add(&Refusal { request, inode, address, errno: name(errno), explained })
    }
}

fn agreed(expected: i32, errno: i32, what: impl FnOnce() -> String) -> Verdict<Answer> {
    if expected == errno {
        Ok(Answer::Other)
    } else {
        disagree(format!("{}: {} was certain, the kernel says {}", what(), name(expected), name(errno)))
    }
}

/// `success`, or the name of an errno.
fn name(errno: i32) -> String {
    match errno {
        0 => "success".to_owned(),
        _ => format!("{:?}", nix::errno::Errno::from_raw(errno)),
    }
}
