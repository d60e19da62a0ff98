//! Sockets that take traffic from a port that another still has: by a more specific address, by the other family, by a
//! device. No call is refused, and who had the port is not told by the kernel.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Result, ensure};
use reuse_tests::{
    actor::Actor,
    daemon::Daemon,
    signals::{Double, Expected, Party, Stage, TAKER, Traffic, VICTIM, counted},
};

const TCP: &str = "";
const UDP: &str = "kind=SOCK_DGRAM";

/// Who takes the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
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
const ANYONE: &[Who] = &[Who::Foreign, Who::Program, Who::Service];
/// SO_REUSEPORT is for one user.
const SAME_UID: &[Who] = &[Who::Program, Who::Service];

/// A socket: its address and the options it is bound with.
type Side = (&'static str, &'static str);

/// A pair of sockets on one port.
#[derive(Debug, Clone, Copy)]
struct Pair {
    signal: &'static str,
    kind: &'static str,
    /// Bound first
    first: Side,
    /// Bound second
    second: Side,
    /// Whether the first is the one that takes the traffic
    first_takes: bool,
    /// Where traffic goes to, and whether the socket bound second gets it
    traffic: (&'static str, bool),
    who: &'static [Who],
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

/// Stages the pairs side by side, from their begin to their end, which is the close of the one socket or of the other:
/// each on a port of its own.
fn all(daemon: &Daemon, stage: &Stage<'_>, pairs: &[Pair]) -> Result<()> {
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

#[test]
fn a_more_specific_address() -> Result<()> {
    const SIGNAL: &str = "more_specific_shadow";
    let pairs = |kind, option: [&'static str; 2], who| {
        [
            Pair {
                signal: SIGNAL,
                kind,
                first: ("0.0.0.0", option[0]),
                second: ("127.0.0.1", option[0]),
                first_takes: false,
                traffic: ("127.0.0.1", true),
                who,
            },
            // Who was there first does not matter.
            Pair {
                signal: SIGNAL,
                kind,
                first: ("127.0.0.1", option[0]),
                second: ("0.0.0.0", option[0]),
                first_takes: true,
                traffic: ("127.0.0.1", false),
                who,
            },
            Pair {
                signal: SIGNAL,
                kind,
                first: ("::", option[1]),
                second: ("::1", option[1]),
                first_takes: false,
                traffic: ("::1", true),
                who,
            },
            Pair {
                signal: SIGNAL,
                kind,
                first: ("::", option[0]),
                second: ("::1", option[0]),
                first_takes: false,
                traffic: ("::1", true),
                who,
            },
        ]
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "specific")?;
    let with_reuseaddr = pairs(UDP, ["RA", "RA, V6ONLY"], ANYONE);
    let with_reuseport = [TCP, UDP].map(|kind| pairs(kind, ["RP", "RP, V6ONLY"], SAME_UID));
    all(&daemon, &stage, &[with_reuseaddr, with_reuseport[0], with_reuseport[1]].concat())
}

#[test]
fn a_dual_stack_address() -> Result<()> {
    const SIGNAL: &str = "family_shadow";
    let pairs = |kind, option, who| {
        let pair = |first, second, first_takes, second_gets| Pair {
            signal: SIGNAL,
            kind,
            first: (first, option),
            second: (second, option),
            first_takes,
            traffic: ("127.0.0.1", second_gets),
            who,
        };
        [
            pair("::", "0.0.0.0", false, true),
            pair("0.0.0.0", "::", true, false),
            pair("::", "127.0.0.1", false, true),
            pair("127.0.0.1", "::", true, false),
            pair("::", "::ffff:127.0.0.1", false, true),
        ]
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "dual")?;
    let all_pairs = [pairs(UDP, "RA", ANYONE), pairs(TCP, "RP", SAME_UID), pairs(UDP, "RP", SAME_UID)];
    all(&daemon, &stage, &all_pairs.concat())
}

/// `localhost` is both: clients that ask the other family first go to who listens there.
#[test]
fn the_other_family() -> Result<()> {
    let pairs = |kind| {
        let pair = |first, second, host| Pair {
            signal: "family_shadow",
            kind,
            first,
            second,
            first_takes: false,
            traffic: (host, true),
            who: ANYONE,
        };
        [
            pair(("0.0.0.0", ""), ("::", "V6ONLY"), "::1"),
            pair(("0.0.0.0", ""), ("::1", ""), "::1"),
            pair(("127.0.0.1", ""), ("::1", ""), "::1"),
            pair(("::1", ""), ("127.0.0.1", ""), "127.0.0.1"),
            pair(("::", "V6ONLY"), ("0.0.0.0", ""), "127.0.0.1"),
        ]
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "family")?;
    all(&daemon, &stage, &[TCP, UDP].map(pairs).concat())
}

#[test]
fn a_device() -> Result<()> {
    const SIGNAL: &str = "device_shadow";
    // With SO_REUSEADDR the socket with the device has the traffic; with SO_REUSEPORT whichever is newer, by the scan of
    // the kernel, which ends at the first such socket.
    let pairs = |kind, [plain, with_device]: [&'static str; 2], newer_gets, who| {
        let pair = |any: &'static str, host| {
            [
                Pair {
                    signal: SIGNAL,
                    kind,
                    first: (any, plain),
                    second: (any, with_device),
                    first_takes: false,
                    traffic: (host, true),
                    who,
                },
                Pair {
                    signal: SIGNAL,
                    kind,
                    first: (any, with_device),
                    second: (any, plain),
                    first_takes: true,
                    traffic: (host, newer_gets),
                    who,
                },
            ]
        };
        [pair("0.0.0.0", "127.0.0.1"), pair("127.0.0.1", "127.0.0.1")].concat()
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "device")?;
    let with_reuseaddr = pairs(UDP, ["RA", "RA, through('lo')"], false, ANYONE);
    let with_reuseport = [TCP, UDP].map(|kind| pairs(kind, ["RP", "RP, through('lo')"], true, SAME_UID));
    all(&daemon, &stage, &[&with_reuseaddr[..], &with_reuseport[0], &with_reuseport[1]].concat())
}

/// Each has a device of its own, and no option is needed: seen without the devices both are whole wildcards.
#[test]
fn another_device() -> Result<()> {
    let pair = |kind| Pair {
        signal: "device_shadow",
        kind,
        first: ("0.0.0.0", "through('rt0')"),
        second: ("0.0.0.0", "through('lo')"),
        first_takes: false,
        traffic: ("127.0.0.1", true),
        who: ANYONE,
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "devices")?;
    stage.namespace().ip(&["link", "add", "rt0", "type", "veth", "peer", "name", "rt1"])?;
    all(&daemon, &stage, &[TCP, UDP].map(pair))
}

/// What looks alike and takes nothing: one process with both sockets, addresses that do not meet, other namespaces.
#[test]
fn what_takes_nothing_raises_nothing() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "alike")?;
    stage.namespace().ip(&["address", "add", "192.0.2.1/32", "dev", "lo"])?;
    let mut one = stage.actor("rt-one", VICTIM)?;
    let mut other = stage.actor("rt-other", TAKER)?;
    for (port, kind) in [(8_001, TCP), (8_002, UDP)] {
        let call = if kind == TCP { "listening" } else { "bound" };
        let open = |host: &str, port: i32, options: &str| {
            format!("held.append({call}('{host}', {port}, {options}{kind}))")
        };
        let run = |actor: &mut Actor, statements: String| actor.run(&statements).map(drop);
        run(&mut one, "held = globals().get('held', [])".to_owned())?;
        run(&mut other, "held = globals().get('held', [])".to_owned())?;
        // A server of both families and several addresses.
        run(&mut one, open("0.0.0.0", port, "RP, "))?;
        run(&mut one, open("127.0.0.1", port, "RP, "))?;
        run(&mut one, open("::", port, "RP, V6ONLY, "))?;
        run(&mut one, open("0.0.0.0", port, "RP, through('lo'), "))?;
        // Another address of the same family, and of the other one where no name has both.
        run(&mut one, open("127.0.0.1", port + 10, ""))?;
        run(&mut other, open("127.0.0.2", port + 10, ""))?;
        run(&mut other, open("192.0.2.1", port + 20, ""))?;
        run(&mut one, open("::1", port + 20, ""))?;
        // Another port.
        run(&mut other, open("127.0.0.1", port + 30, ""))?;
    }
    // Another namespace, and the other protocol.
    let elsewhere = Stage::new(&daemon, "elsewhere")?;
    let mut far = elsewhere.actor("rt-far", TAKER)?;
    far.run("held = [listening('127.0.0.1', 8001), bound('0.0.0.0', 8002, RA, kind=SOCK_DGRAM)]")?;
    one.run("held += [listening('127.0.0.1', 8040)]")?;
    other.run("held += [bound('127.0.0.1', 8040, kind=SOCK_DGRAM)]")?;
    stage.assert_only(&[])?;
    elsewhere.assert_only(&[])
}
