//! Pairs of sockets on one port of which one takes the traffic of the other, staged side by side: each on a port of its own,
//! by processes that all of them have in common.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Result, ensure};

use super::{Double, Expected, Party, Stage, TAKER, Traffic, VICTIM, counted};
use crate::{actor::Actor, daemon::Daemon};

/// What is added to the making of a TCP socket.
pub const TCP: &str = "";
/// What is added to that of a UDP socket.
pub const UDP: &str = "kind=SOCK_DGRAM";

/// Who takes the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Another user
    Foreign,
    /// Another program of the same user
    Program,
    /// The same program of the same user
    Service,
}

impl Who {
    fn severity(self) -> &'static str {
        match self {
            Self::Foreign => "critical",
            Self::Program => "warning",
            Self::Service => "info",
        }
    }
}

/// Everyone. Without an option that both must have for it.
pub const ANYONE: &[Who] = &[Who::Foreign, Who::Program, Who::Service];
/// SO_REUSEPORT is for one user.
pub const SAME_UID: &[Who] = &[Who::Program, Who::Service];

/// A socket: its address and the options it is bound with.
pub type Side = (&'static str, &'static str);

/// A pair of sockets on one port.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// What is told of it
    pub signal: &'static str,
    /// [`TCP`] or [`UDP`]
    pub kind: &'static str,
    /// Bound first
    pub first: Side,
    /// Bound second
    pub second: Side,
    /// Whether the first is the one that takes the traffic
    pub first_takes: bool,
    /// Where traffic goes to, and whether the socket bound second gets it
    pub traffic: (&'static str, bool),
    /// Who has the second, each in a pair of its own
    pub who: &'static [Who],
}

/// The processes of a test.
struct Cast {
    victim: Actor,
    foreign: Actor,
    program: Actor,
    service: Actor,
    client: Actor,
}

impl Cast {
    fn new(stage: &Stage<'_>, double: &Double) -> Result<Self> {
        Ok(Self {
            victim: stage.actor("rt-victim", VICTIM)?,
            foreign: stage.actor("rt-foreign", TAKER)?,
            program: stage.actor_of(double, "rt-program", VICTIM)?,
            service: stage.actor("rt-service", VICTIM)?,
            client: stage.actor("rt-client", TAKER)?,
        })
    }

    fn other(&mut self, who: Who) -> &mut Actor {
        match who {
            Who::Foreign => &mut self.foreign,
            Who::Program => &mut self.program,
            Who::Service => &mut self.service,
        }
    }
}

/// A pair, who has the second socket of it, and the port: each side has its socket in the variable `s` and the port.
#[derive(Debug, Clone, Copy)]
struct Staged {
    pair: Pair,
    who: Who,
    port: u64,
}

impl Staged {
    fn open(&self, (host, options): Side) -> String {
        let Self { pair: Pair { kind, .. }, port, .. } = self;
        let call = if *kind == TCP { "listening" } else { "bound" };
        let options: String = [options, kind]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| format!(", {part}"))
            .collect();
        format!("s{port} = {call}('{host}', {port}{options})")
    }

    fn close(&self) -> String {
        format!("s{}.close()", self.port)
    }

    /// Whether it is ended by the close of the victim's: by turns.
    fn is_ended_by_first(&self) -> bool {
        self.port.is_multiple_of(2)
    }

    /// How much of its traffic the first socket gets, and the second.
    fn shares(&self) -> [u64; 2] {
        if self.pair.traffic.1 { [0, FLOWS] } else { [FLOWS, 0] }
    }
}

/// Connections or datagrams for each pair.
const FLOWS: u64 = 4;

/// Has the other sides of these pairs do something, each one all of its own at once.
fn others(cast: &mut Cast, staged: &[Staged], statement: impl Fn(&Staged) -> String) -> Result<()> {
    for who in ANYONE {
        let statements: Vec<_> = staged.iter().filter(|one| one.who == *who).map(&statement).collect();
        if !statements.is_empty() {
            cast.other(*who).run(&statements.join("\n"))?;
        }
    }
    Ok(())
}

/// The same of the victim.
fn victim(cast: &mut Cast, staged: &[Staged], statement: impl Fn(&Staged) -> String) -> Result<()> {
    let statements: Vec<_> = staged.iter().map(statement).collect();
    cast.victim.run(&statements.join("\n")).map(drop)
}

/// The sockets of these pairs, in their order: the first of each or the second.
fn parties(cast: &mut Cast, staged: &[Staged], is_first: bool) -> Result<Vec<Party>> {
    let mut parties = BTreeMap::new();
    for who in ANYONE {
        let of_it: Vec<_> = staged.iter().filter(|one| one.who == *who).collect();
        let variables: Vec<_> = of_it.iter().map(|one| format!("s{}", one.port)).collect();
        let roles = of_it.iter().map(|one| if one.pair.first_takes == is_first { "taker" } else { "victim" });
        let wanted: Vec<_> = roles.zip(variables.iter().map(String::as_str)).collect();
        let actor = if is_first { &mut cast.victim } else { cast.other(*who) };
        parties.extend(of_it.iter().map(|one| one.port).zip(Party::all(&wanted, actor)?));
    }
    Ok(parties.into_values().collect())
}

/// Stages them from their begin to their end, which is the close of the one socket or of the other, and checks that each
/// is told, with who gets the traffic, and nothing else.
///
/// # Errors
/// When one is not told in time, or the traffic goes elsewhere.
///
/// # Panics
/// When something else is told.
pub fn stage_pairs(daemon: &Daemon, stage: &Stage<'_>, pairs: &[Pair]) -> Result<()> {
    let double = Double::new("rt-double")?;
    let mut cast = Cast::new(stage, &double)?;
    let everything = pairs.iter().flat_map(|pair| pair.who.iter().map(move |who| (*pair, *who)));
    let staged: Vec<_> =
        (8_001..).zip(everything).map(|(port, (pair, who))| Staged { pair, who, port }).collect();

    let begun = Instant::now();
    victim(&mut cast, &staged, |one| one.open(one.pair.first))?;
    others(&mut cast, &staged, |one| one.open(one.pair.second))?;
    let sockets = parties(&mut cast, &staged, true)?.into_iter().zip(parties(&mut cast, &staged, false)?);
    let expected = staged.iter().zip(sockets).map(|(one, (first, second))| {
        let (victim, taker) = if one.pair.first_takes { (second, first) } else { (first, second) };
        Expected::new(one.pair.signal, one.who.severity()).and(victim).and(taker)
    });
    let expected: Vec<_> = expected.collect();
    let signals = stage.all_raised(begun, &expected)?;

    assert_traffic(&mut cast, &staged)?;
    let taken = staged.iter().map(|one| one.shares()[usize::from(!one.pair.first_takes)]);
    stage.all_selections("taker", &expected.iter().zip(taken).collect::<Vec<_>>())?;

    let begun = Instant::now();
    let (by_first, by_second): (Vec<_>, Vec<_>) = staged.iter().partition(|one| one.is_ended_by_first());
    victim(&mut cast, &by_first, Staged::close)?;
    others(&mut cast, &by_second, Staged::close)?;
    stage.all_resolved(begun, &expected, &signals)?;
    victim(&mut cast, &by_second, Staged::close)?;
    others(&mut cast, &by_first, Staged::close)?;
    stage.assert_only(&signals.iter().collect::<Vec<_>>())?;
    counted(daemon)
}

/// Sends to each pair, and checks who gets it.
fn assert_traffic(cast: &mut Cast, staged: &[Staged]) -> Result<()> {
    let traffic = staged.iter().map(|Staged { pair, port, .. }| {
        let (kind, host) = (pair.kind, pair.traffic.0);
        Traffic { kind, host, port: *port, count: FLOWS }
    });
    let ports: Vec<_> = staged.iter().map(|one| one.port).collect();
    let of = |who| staged.iter().filter(|one| one.who == who).map(|one| one.port).collect::<Vec<_>>();
    let [foreign, program, service] = [Who::Foreign, Who::Program, Who::Service].map(of);
    let receivers = [
        (&mut cast.victim, &ports[..]),
        (&mut cast.foreign, &foreign[..]),
        (&mut cast.program, &program[..]),
        (&mut cast.service, &service[..]),
    ];
    let shares = Traffic::all_shares(&traffic.collect::<Vec<_>>(), &mut cast.client, receivers)?;
    for (one, [first, foreign, program, service]) in staged.iter().zip(shares) {
        // Only one of them has the other socket.
        let shares = [first, foreign + program + service];
        ensure!(shares == one.shares(), "{} goes to {shares:?}: {one:?}", one.pair.traffic.0);
    }
    Ok(())
}
