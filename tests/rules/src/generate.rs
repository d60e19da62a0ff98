//! Random scenarios. A seed gives the same scenario always.
//!
//! A scenario has a temper, drawn first: how much its sockets share, which addresses, users and devices they have.
//! Without it every scenario would look like the average one, and what takes five sockets of a kind would never come up.

mod connections;
mod temper;

use fastrand::Rng;
use reuse_model::endpoint::{Family, Protocol, Transport};

use self::temper::Temper;
use crate::scenario::{OTHER_UID, Scenario, Slot, Step, Switch, Tables, Trial};

/// With more sockets than this in its slot, a UDP bind looks elsewhere.
const CROWD: usize = 10;

/// The scenario of a seed.
pub(crate) fn scenario(seed: u64, transport: Option<Transport>) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let drawn = if rng.u8(..10) < 7 { Transport::Tcp } else { Transport::Udp };
    let transport = transport.unwrap_or(drawn);
    let temper = Temper::draw(&mut rng, transport);
    let tables = if rng.u8(..4) == 0 { Tables::Own } else { Tables::Host };
    let migrate = rng.u8(..4) == 0;
    let mut author = Author { rng, temper, transport, made: Vec::new(), steps: Vec::new(), next: 0 };
    author.write();
    Scenario { seed, transport, tables, migrate, steps: author.steps }
}

/// What the author knows of a socket it had made; whether the kernel let it bind is not known here.
struct Made {
    slot: Slot,
    family: Family,
    protocol: Protocol,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bound,
    Listener,
    Connection,
    Client,
}

struct Author {
    rng: Rng,
    temper: Temper,
    transport: Transport,
    made: Vec<Made>,
    steps: Vec<Step>,
    next: u8,
}

impl Author {
    fn write(&mut self) {
        let crowd = self.transport == Transport::Udp && self.rng.u8(..4) == 0;
        if crowd {
            for _ in 0..CROWD + self.rng.usize(..4) {
                self.bystander();
            }
        }
        for _ in 0..4 + self.rng.usize(..16) {
            match self.transport {
                Transport::Tcp => self.tcp(),
                Transport::Udp => self.udp(),
            }
        }
        self.contender();
    }

    fn tcp(&mut self) {
        match self.rng.u8(..100) {
            0..35 => self.contender(),
            35..47 => self.switch(),
            47..61 => self.connect(),
            61..69 => self.accept(),
            69..75 => self.connect_out(),
            75..85 => self.close(),
            85..91 => self.listen(),
            91..94 => self.of_any(|slot, _| Step::Shutdown { slot }),
            94..96 => self.of(Kind::Connection, |slot| Step::Fill { slot }),
            96..98 => self.rare(),
            _ => self.bind_again(),
        }
    }

    fn udp(&mut self) {
        match self.rng.u8(..100) {
            0..50 => self.contender(),
            50..64 => self.switch(),
            64..76 => self.connect_out(),
            76..80 => self.of(Kind::Bound, |slot| Step::Disconnect { slot }),
            80..92 => self.close(),
            92..93 => self.listen(),
            93..97 => self.rare(),
            _ => self.bind_again(),
        }
    }

    fn slot(&mut self) -> Slot {
        let slot = Slot(self.next);
        self.next = self.next.saturating_add(1);
        slot
    }

    fn open(&mut self) -> (Slot, Family, Protocol) {
        let slot = self.slot();
        let family = self.temper.family(&mut self.rng);
        let protocol = self.temper.protocol(&mut self.rng);
        let options = self.temper.options(&mut self.rng, family);
        self.steps.push(Step::Open { slot, protocol, family, options });
        (slot, family, protocol)
    }

    /// A new socket that binds the contested port, and perhaps listens.
    fn contender(&mut self) {
        let (slot, family, protocol) = self.open();
        if self.temper.special(&mut self.rng) {
            self.steps.push(match self.rng.u8(..2) {
                0 => Step::Program { slot },
                _ => Step::Set { slot, option: Switch::Repair, on: true },
            });
        }
        let address = self.temper.address(&mut self.rng, family);
        let trial = self.trial();
        self.steps.push(Step::Bind { slot, address, neighbour: 0, trial });
        let listens = self.transport == Transport::Tcp && self.rng.f64() < self.temper.listening;
        if listens {
            let trial = self.trial();
            self.steps.push(Step::Listen { slot, trial });
        }
        let kind = if listens { Kind::Listener } else { Kind::Bound };
        self.made.push(Made { slot, family, protocol, kind });
    }

    /// A socket that shares the contested one's slot, and meets few of the others.
    fn bystander(&mut self) {
        let (slot, family, protocol) = self.open();
        let neighbour = if self.rng.u8(..3) == 0 { 1 + self.rng.u8(..4) } else { 0 };
        let address = if neighbour == 0 {
            temper::elsewhere(&mut self.rng, family)
        } else {
            self.temper.address(&mut self.rng, family)
        };
        self.steps.push(Step::Bind { slot, address, neighbour, trial: Trial::None });
        self.made.push(Made { slot, family, protocol, kind: Kind::Bound });
    }

    fn bind_again(&mut self) {
        // A connection that was reset may be bound again, which the world does not follow.
        let own = |made: &Made| matches!(made.kind, Kind::Bound | Kind::Listener);
        let Some((slot, family)) = self.pick(own) else { return };
        let address = self.temper.address(&mut self.rng, family);
        let trial = self.trial();
        self.steps.push(Step::Bind { slot, address, neighbour: 0, trial });
    }

    fn listen(&mut self) {
        let trial = self.trial();
        self.of_any(|slot, _| Step::Listen { slot, trial });
    }

    fn switch(&mut self) {
        let on = self.rng.bool();
        let option = match self.rng.u8(..20) {
            0..9 => Switch::ReuseAddr,
            9..18 => Switch::ReusePort,
            18 => Switch::V6Only,
            _ => Switch::Repair,
        };
        self.of_any(|slot, _| Step::Set { slot, option, on });
    }

    fn rare(&mut self) {
        let device = self.temper.device(&mut self.rng);
        let uid = if self.rng.bool() { OTHER_UID } else { 0 };
        let what = self.rng.u8(..4);
        self.of_any(|slot, _| match what {
            0 => Step::SetDevice { slot, device },
            1 => Step::Chown { slot, uid },
            2 => Step::Program { slot },
            _ => Step::Disconnect { slot },
        });
    }

    fn close(&mut self) {
        let reset = self.rng.u8(..4) == 0;
        self.of_any(|slot, _| Step::Close { slot, reset });
    }

    fn trial(&mut self) -> Trial {
        let pick = self.rng.u8(..);
        match self.rng.u8(..8) {
            0 => Trial::Blockers(pick),
            1 => Trial::Remedies(pick),
            _ => Trial::None,
        }
    }

    fn of_any(&mut self, step: impl FnOnce(Slot, Family) -> Step) {
        if let Some((slot, family)) = self.pick(|_| true) {
            self.steps.push(step(slot, family));
        }
    }

    fn of(&mut self, kind: Kind, step: impl FnOnce(Slot) -> Step) {
        if let Some((slot, _)) = self.pick(|made| made.kind == kind) {
            self.steps.push(step(slot));
        }
    }

    fn pick(&mut self, wanted: impl Fn(&Made) -> bool) -> Option<(Slot, Family)> {
        let eligible = self.made.iter().filter(|made| wanted(made)).map(|made| (made.slot, made.family));
        self.rng.choice(eligible.collect::<Vec<_>>())
    }
}
