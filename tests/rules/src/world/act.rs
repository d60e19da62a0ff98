//! The steps that change a socket and need no judging.

use std::io;

use anyhow::{Context as _, Result, bail};
use reuse_model::endpoint::{Family, Protocol};

use super::{Entry, World};
use crate::{
    devices::{LOOPBACK, VETH},
    scenario::{Device, Options, Slot, Step, Switch},
    system,
};

impl World<'_> {
    /// Takes a step other than `bind` and `listen`; whether it did anything.
    ///
    /// # Errors
    /// Where the kernel refuses what it never should.
    pub(crate) fn act(&mut self, step: Step) -> Result<bool> {
        match step {
            Step::Open { slot, protocol, family, options } => self.open(slot, protocol, family, options),
            Step::Connect { client, listener, address } => self.connect(client, listener, address),
            Step::Accept { listener, slot, uid } => self.accept(listener, slot, uid),
            Step::ConnectOut { slot, peer, ipv4 } => self.connect_out(slot, peer, ipv4),
            Step::Close { slot, reset } => self.close(slot, reset),
            Step::Shutdown { slot } => self.shutdown(slot),
            Step::Set { slot, option: Switch::Repair, .. } if self.is_connected(slot)? => Ok(false),
            Step::Set { slot, option: Switch::Repair, .. }
            | Step::SetDevice { slot, .. }
            | Step::Disconnect { slot } => {
                if matches!(step, Step::Disconnect { .. })
                    && self.entries.get(&slot).is_some_and(|entry| !entry.muted)
                {
                    self.resets(slot);
                }
                self.mute(slot);
                self.act_on(slot, step)
            }
            Step::Set { slot, .. }
            | Step::Chown { slot, .. }
            | Step::Program { slot }
            | Step::Fill { slot } => self.act_on(slot, step),
            Step::Bind { .. } | Step::Listen { .. } => bail!("bind and listen are for the judge"),
        }
    }

    /// Whether a socket has, or had, a connection.
    fn is_connected(&self, slot: Slot) -> Result<bool> {
        let Some(entry) = self.entries.get(&slot).filter(|entry| entry.protocol != Protocol::Udp) else {
            return Ok(false);
        };
        Ok(!matches!(entry.tcp_state()?, system::CLOSE | system::LISTEN) || entry.connected)
    }

    fn act_on(&mut self, slot: Slot, step: Step) -> Result<bool> {
        let Some(entry) = self.entries.get_mut(&slot) else { return Ok(false) };
        let done = entry.act(step)?;
        let facts = entry.facts()?;
        self.twin_looks_like(slot, facts.as_ref());
        if matches!(step, Step::Disconnect { .. } | Step::Fill { .. }) {
            self.let_arrive()?;
        }
        Ok(done)
    }

    fn open(&mut self, slot: Slot, protocol: Protocol, family: Family, options: Options) -> Result<bool> {
        self.close(slot, false)?;
        let socket = system::under(options.uid, || -> Result<_> {
            let socket = system::open(family, protocol)?;
            for (on, option) in [
                (options.reuseaddr, Switch::ReuseAddr),
                (options.reuseport, Switch::ReusePort),
                (options.v6only, Switch::V6Only),
            ] {
                if on {
                    let (level, name) = option.name();
                    system::set(&socket, level, name, 1)?;
                }
            }
            if options.device != Device::Any {
                system::set(&socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, index(options.device))?;
            }
            Ok(socket)
        });
        self.entries.insert(slot, Entry::new(socket.context("a new socket")?, family, protocol)?);
        Ok(true)
    }
}

impl World<'_> {
    /// Closes a socket, and makes another with the same options, under `uid` if that is another.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn make_anew(&mut self, slot: Slot, uid: Option<u32>) -> Result<()> {
        let entry = self.entries.get(&slot).context("nothing to make anew")?;
        let (protocol, family) = (entry.protocol, entry.family);
        let shape = entry.shape(family.unspecified())?;
        let device = match shape.device {
            0 => Device::Any,
            LOOPBACK => Device::Loopback,
            _ => Device::Veth,
        };
        let options = Options {
            reuseaddr: shape.reuse.is_set(),
            reuseport: shape.reuseport,
            v6only: shape.v6only,
            device,
            uid: uid.unwrap_or(shape.uid),
        };
        self.open(slot, protocol, family, options).map(drop)
    }
}

impl Entry {
    /// Switches an option.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn set(&self, option: Switch, on: bool) -> io::Result<()> {
        let (level, name) = option.name();
        system::set(&self.socket, level, name, i32::from(on))
    }

    /// Takes a step on one socket. What the kernel refuses has not happened, which shows in the socket's options.
    fn act(&mut self, step: Step) -> Result<bool> {
        match step {
            Step::Set { option, on, .. } => {
                return Ok(self.set(option, on).is_ok());
            }
            Step::SetDevice { device, .. } => {
                let set = system::set(&self.socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, index(device));
                return Ok(set.is_ok());
            }
            Step::Chown { uid, .. } => system::chown(&self.socket, uid)?,
            Step::Program { .. } => {
                let attached = system::attach_program(&self.socket).is_ok();
                self.grouped |= attached && !self.bound;
                return Ok(attached);
            }
            Step::Disconnect { .. } => {
                system::disconnect(&self.socket);
                self.connected = false;
            }
            Step::Fill { .. } => return self.fill(),
            other => bail!("not a step of one socket: {other}"),
        }
        Ok(true)
    }

    /// Sends until the other end's window and the own buffer are full.
    fn fill(&mut self) -> Result<bool> {
        if self.protocol == Protocol::Udp || self.tcp_state()? != system::ESTABLISHED {
            return Ok(false);
        }
        let bytes = [0_u8; 16 * 1024];
        while self.socket.send(&bytes).is_ok() {}
        self.filled = true;
        Ok(true)
    }
}

impl Switch {
    /// Level and number of the option.
    pub(crate) fn name(self) -> (i32, i32) {
        match self {
            Self::ReuseAddr => (libc::SOL_SOCKET, libc::SO_REUSEADDR),
            Self::ReusePort => (libc::SOL_SOCKET, libc::SO_REUSEPORT),
            Self::V6Only => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
            Self::Repair => (libc::IPPROTO_TCP, libc::TCP_REPAIR),
        }
    }
}

fn index(device: Device) -> i32 {
    match device {
        Device::Any => 0,
        Device::Loopback => LOOPBACK.cast_signed(),
        Device::Veth => VETH.cast_signed(),
    }
}
