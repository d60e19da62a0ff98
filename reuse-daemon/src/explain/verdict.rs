//! The decision on one question, from everything it depends on: the checks before the port, the bind, the listen.

use reuse_model::{
    endpoint::{Family, Transport},
    event::Phase,
    port::Port,
    refusal::{EADDRINUSE, Rule},
    rulebook::{
        Contender, Decision, Exemption, Kernel, Request, after_bind, decide,
        precheck::{Objection, Surroundings, precheck},
    },
};

/// Everything a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// How the kernel decides
    pub kernel: &'a Kernel,
    /// The socket that would ask
    pub contender: &'a Contender,
    /// The port's number
    pub number: u16,
    /// The port
    pub port: &'a Port,
    /// What the checks before it depend on
    pub around: &'a Surroundings,
    /// Whether it would listen, too
    pub listen: bool,
}

/// How it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The call that is refused, else the last one
    pub phase: Phase,
    /// A check before the port that refuses
    pub objection: Option<Objection>,
    /// What the port says; refuses nothing where there is an objection
    pub decision: Decision,
}

impl Case<'_> {
    /// Decides.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if let Some(objection) = precheck(self.contender, self.number, self.around) {
            return Verdict { phase: Phase::Bind, objection: Some(objection), decision: nothing() };
        }
        let bind = decide(self.kernel, Request::Bind, self.contender, self.port);
        if bind.refused || !self.listens() {
            return Verdict { phase: Phase::Bind, objection: None, decision: bind };
        }
        let bound = after_bind(self.kernel, self.contender, self.port);
        let listen = decide(self.kernel, Request::Listen, &self.as_bound(), &bound);
        // What only the bind had to be exempted from is worth telling, too.
        let decision = if listen.refused || bind.blockers.is_empty() { listen } else { bind };
        Verdict { phase: Phase::Listen, objection: None, decision }
    }

    /// Whether a listen belongs to the question; a datagram socket has none.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.listen && self.contender.transport == Transport::Tcp
    }

    /// The contender once its bind succeeded: one with an address of IPv6 alone has been made IPv6 only by it
    /// (`__inet6_bind`).
    fn as_bound(&self) -> Contender {
        let ipv6_alone = self.contender.family == Family::Ipv6
            && matches!(self.contender.address, std::net::IpAddr::V6(v6)
                if !v6.is_unspecified() && v6.to_ipv4_mapped().is_none());
        Contender { v6only: self.contender.v6only || ipv6_alone, ..self.contender.clone() }
    }
}

impl Verdict {
    /// Whether the kernel would say no.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.objection.is_some() || self.decision.refused
    }

    /// What it would say.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self.objection {
            Some(objection) => Some(objection.errno),
            None => self.decision.refused.then_some(EADDRINUSE),
        }
    }

    /// Why. TCP: the highest rule of the table among its holders'; UDP: that of the holder that decides, the first.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        if let Some(objection) = self.objection {
            return Some(objection.rule);
        }
        let rules = || self.decision.blockers.iter().map(|blocker| blocker.rule);
        match (self.decision.refused, self.decision.decided_by) {
            (false, _) => None,
            (true, Some(_)) => rules().next(),
            (true, None) => rules().min(),
        }
    }

    /// Whether it would succeed for this reason only.
    #[must_use]
    pub fn allowed_by(&self, exemption: Exemption) -> bool {
        !self.refused() && self.decision.exemption == Some(exemption)
    }
}

/// No socket in the way.
fn nothing() -> Decision {
    Decision { refused: false, blockers: Vec::new(), decided_by: None, exemption: None }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use reuse_model::{
        endpoint::Protocol,
        port::{Bucket, FastAddress, Occupant, Reuse, Table, Tenure},
        rulebook::{Features, Release},
        socket::{Cookie, Inode, State},
    };

    use super::*;

    pub(in super::super) const HOME: Surroundings = Surroundings {
        address_is_local: true,
        nonlocal_bind: false,
        unprivileged_port_start: 1024,
        may_bind_privileged: true,
    };

    pub(in super::super) fn kernel() -> Kernel {
        let features = Features { inet_bind2_bucket: true, bhash2: true, ..Features::default() };
        Kernel::new(Release { major: 6, minor: 18, patch: 44 }, features)
    }

    pub(in super::super) fn contender(address: &str) -> Contender {
        let address: IpAddr = address.parse().unwrap();
        Contender {
            transport: Transport::Tcp,
            family: if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 },
            address,
            reuse: Reuse::No,
            reuseport: false,
            v6only: false,
            device: 0,
            uid: 1000,
            in_group: false,
            group_has_closed: false,
        }
    }

    pub(in super::super) fn occupant(address: &str, state: State) -> Occupant {
        let address: IpAddr = address.parse().unwrap();
        Occupant {
            family: if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 },
            address,
            protocol: Protocol::Tcp,
            state,
            reuse: Reuse::No,
            reuseport: false,
            v6only: false,
            device: 0,
            uid: Some(1000),
            inode: Inode(7),
            cookie: Cookie(0),
            tenure: Tenure::Held,
            kernel: false,
            expires_in: None,
        }
    }

    pub(in super::super) fn port(occupants: Vec<Occupant>) -> Port {
        Port { table: Table::Tcp(None), occupants, truncated: false, disturbed: false }
    }

    #[test]
    fn the_checks_before_the_port_come_first() {
        let (kernel, contender) = (kernel(), contender("192.0.2.1"));
        let port = port(vec![occupant("192.0.2.1", State::Listen)]);
        let around = Surroundings { address_is_local: false, ..HOME };
        let case = Case {
            kernel: &kernel,
            contender: &contender,
            number: 80,
            port: &port,
            around: &around,
            listen: true,
        };
        let verdict = case.verdict();
        assert_eq!((verdict.errno(), verdict.rule()), (Some(99), Some(Rule::AddressNotLocal)));
        let verdict = Case { around: &HOME, ..case }.verdict();
        assert_eq!((verdict.errno(), verdict.rule()), (Some(98), Some(Rule::HolderIsListening)));
        assert_eq!(verdict.phase, Phase::Bind);
    }

    #[test]
    fn what_binds_may_still_be_refused_at_listen() {
        let kernel = kernel();
        let reusing = Contender { reuse: Reuse::Yes, ..contender("127.0.0.1") };
        let shared = port(vec![Occupant { reuse: Reuse::Yes, ..occupant("127.0.0.1", State::Bound) }]);
        let case = Case {
            kernel: &kernel,
            contender: &reusing,
            number: 8080,
            port: &shared,
            around: &HOME,
            listen: true,
        };
        let verdict = case.verdict();
        assert_eq!((verdict.phase, verdict.refused()), (Phase::Listen, false), "nobody listens yet");

        // A bucket that lets SO_REUSEADDR pass does so only while the socket does not listen.
        let address = FastAddress { family: Family::Ipv4, address: reusing.address, v6only: false };
        let bucket = Bucket {
            fastreuse: 1,
            fastreuseport: 0,
            fastuid: 0,
            fast_address: address,
            wildcard_family: None,
        };
        let lapsed =
            Port { table: Table::Tcp(Some(bucket)), ..port(vec![occupant("127.0.0.1", State::Bound)]) };
        let case = Case { port: &lapsed, ..case };
        let bind = Case { listen: false, ..case }.verdict();
        assert!(bind.allowed_by(Exemption::BucketCache), "{bind:?}");
        let listen = case.verdict();
        assert_eq!((listen.phase, listen.errno()), (Phase::Listen, Some(98)));
        assert_eq!(listen.rule(), Some(Rule::HolderLacksReuseaddr));
    }

    #[test]
    fn datagram_sockets_do_not_listen() {
        let kernel = kernel();
        let contender = Contender { transport: Transport::Udp, ..contender("127.0.0.1") };
        let port = port(Vec::new());
        let case = Case {
            kernel: &kernel,
            contender: &contender,
            number: 8080,
            port: &port,
            around: &HOME,
            listen: true,
        };
        assert_eq!(case.verdict().phase, Phase::Bind);
    }
}
