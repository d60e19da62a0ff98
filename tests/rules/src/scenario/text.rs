//! Scenarios as a person reads them.

use std::fmt;

use super::{Device, Options, Scenario, Slot, Step, Switch, Tables, Trial};

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "none",
            Self::Loopback => "lo",
            Self::Veth => "veth",
        })
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        let flags = [
            (self.reuseaddr, "SO_REUSEADDR"),
            (self.reuseport, "SO_REUSEPORT"),
            (self.v6only, "IPV6_V6ONLY"),
        ];
        for (_, name) in flags.iter().filter(|(on, _)| *on) {
            write!(f, ", {name}")?;
        }
        match self.device {
            Device::Any => Ok(()),
            device => write!(f, ", device {device}"),
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReuseAddr => "SO_REUSEADDR",
            Self::ReusePort => "SO_REUSEPORT",
            Self::V6Only => "IPV6_V6ONLY",
            Self::Repair => "TCP_REPAIR",
        })
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Blockers(pick) => write!(f, "; if refused, take the blockers away ({pick})"),
            Self::Remedies(pick) => write!(f, "; if refused, apply the remedies ({pick})"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { slot, protocol, family, options } => {
                write!(f, "{slot} = {} {} socket, {options}", protocol.as_str(), family.as_str())
            }
            Self::Set { slot, option, on } => write!(f, "{slot}: {option} {}", u8::from(*on)),
            Self::SetDevice { slot, device } => write!(f, "{slot}: SO_BINDTODEVICE {device}"),
            Self::Chown { slot, uid } => write!(f, "{slot}: fchown to uid {uid}"),
            Self::Program { slot } => write!(f, "{slot}: SO_ATTACH_REUSEPORT_CBPF"),
            Self::Bind { slot, address, neighbour: 0, trial } => write!(f, "bind {slot} to {address}{trial}"),
            Self::Bind { slot, address, neighbour, trial } => {
                write!(f, "bind {slot} to {address}, neighbour port {neighbour}{trial}")
            }
            Self::Listen { slot, trial } => write!(f, "listen {slot}{trial}"),
            Self::Connect { client, listener, address } => {
                write!(f, "{client} = client connected to {listener} (by {address} if it has all)")
            }
            Self::Accept { listener, slot, uid } => write!(f, "{slot} = accept from {listener}, uid {uid}"),
            Self::ConnectOut { slot, peer, ipv4 } => {
                let family = if *ipv4 { "ipv4" } else { "ipv6" };
                write!(
                    f,
                    "connect {slot} to another port, {family} if either will do; {peer} = the other end"
                )
            }
            Self::Disconnect { slot } => write!(f, "connect {slot} to AF_UNSPEC"),
            Self::Fill { slot } => write!(f, "fill the send buffer of {slot}"),
            Self::Shutdown { slot } => write!(f, "shutdown {slot}"),
            Self::Close { slot, reset: false } => write!(f, "close {slot}"),
            Self::Close { slot, reset: true } => write!(f, "close {slot} with SO_LINGER 0"),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = match self.tables {
            Tables::Host => "the host's",
            Tables::Own => "the namespace's own",
        };
        writeln!(
            f,
            "seed {}, {}, hash tables {tables}, tcp_migrate_req {}",
            self.seed,
            self.transport.as_str(),
            u8::from(self.migrate)
        )?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{number:4}. {step}")?;
        }
        Ok(())
    }
}
