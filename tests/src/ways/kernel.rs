//! Sockets that the kernel makes and binds itself: the UDP socket of a VXLAN device, which it opens when the device is set
//! up (`vxlan_open` in `drivers/net/vxlan/vxlan_core.c`).

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::namespace::Namespace;

/// A VXLAN device, down at first.
#[derive(Debug)]
pub struct Vxlan<'a> {
    namespace: &'a Namespace,
    name: String,
}

/// What came of setting a device up.
#[derive(Debug)]
pub struct Attempt {
    /// Of the process that asked for it, in whose name the kernel bound.
    pub pid: u32,
    /// Whether the kernel could bind the socket; `Err` with what `ip` said.
    pub outcome: Result<(), String>,
}

impl<'a> Vxlan<'a> {
    /// Makes a device whose socket will be `0.0.0.0:<port>`, or `[::]:<port>` where `ipv6`; the device takes this network
    /// identifier. `None` after saying aloud that this kernel has no VXLAN.
    ///
    /// # Errors
    /// When `ip` refuses for another reason.
    pub fn new(namespace: &'a Namespace, identifier: u32, port: u16, ipv6: bool) -> Result<Option<Self>> {
        let name = format!("vx{identifier}");
        let (identifier, port) = (identifier.to_string(), port.to_string());
        let local = if ipv6 { "::1" } else { "127.0.0.1" };
        let made = namespace.ip(&[
            "link",
            "add",
            &name,
            "type",
            "vxlan",
            "id",
            &identifier,
            "dstport",
            &port,
            "local",
            local,
        ]);
        match made {
            Ok(()) => Ok(Some(Self { namespace, name })),
            // What the kernel answers for a kind of device it does not know.
            Err(error) if format!("{error:#}").contains("Unknown device type") => {
                crate::skip::skip("this kernel has no VXLAN, so there is no socket of its own to see");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets the device up: the kernel opens the socket.
    ///
    /// # Errors
    /// When `ip` cannot be run.
    pub fn up(&self) -> Result<Attempt> {
        self.set("up")
    }

    /// Sets the device down: the kernel closes the socket.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn down(&self) -> Result<()> {
        let Attempt { outcome, .. } = self.set("down")?;
        outcome.or_else(|said| bail!("setting {} down: {said}", self.name))
    }

    fn set(&self, state: &str) -> Result<Attempt> {
        let child = Command::new("ip")
            .args(["-n", self.namespace.name(), "link", "set", &self.name, state])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .context("running ip (package iproute2)")?;
        let pid = child.id();
        let output = child.wait_with_output().context("waiting for ip")?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok(Attempt { pid, outcome: if output.status.success() { Ok(()) } else { Err(said) } })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use super::*;
    use crate::sockets::{self, Transport, result_name};

    #[test]
    fn a_device_that_is_up_holds_its_port_and_one_whose_port_is_held_stays_down() -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            crate::skip::skip("making a network namespace needs root");
            return Ok(());
        }
        let namespace = Namespace::new("vxlan")?;
        for (identifier, ipv6) in [(1, false), (2, true)] {
            let port = 4_000 + u16::try_from(identifier)?;
            let address = match ipv6 {
                false => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                true => SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            };
            let Some(device) = Vxlan::new(&namespace, identifier, port, ipv6)? else { return Ok(()) };
            let bind = || namespace.run(|| sockets::bound(Transport::Udp, address));
            let holder = bind()?;
            let said = device.up()?.outcome.expect_err("the port is held");
            assert!(said.contains("Address already in use"), "{said}");
            drop(holder);
            device.up()?.outcome.map_err(anyhow::Error::msg)?;
            let open = || {
                let socket = sockets::open(Transport::Udp, address.ip())?;
                Ok(result_name(&socket.bind(&address.into())))
            };
            assert_eq!(namespace.run(open)?, "EADDRINUSE", "{address}");
            device.down()?;
            bind()?;
        }
        Ok(())
    }
}
