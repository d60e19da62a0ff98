//! The devices of a namespace: loopback, and a second one, made over netlink (include/uapi/linux/rtnetlink.h), so that
//! a bare machine needs no program for it.

use std::{io, net::Ipv6Addr};

use anyhow::{Context as _, Result};

use crate::netlink::{ACK, Netlink, attribute};

/// Index of the loopback device in every namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
pub(crate) const LOOPBACK: u32 = 1;
/// Index of the other device.
pub(crate) const VETH: u32 = 9;
/// An IPv6 address that both devices have; `::1` is only on the loopback device.
pub(crate) const SECOND_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);

/// `IFF_UP` (include/uapi/linux/if.h)
const IFF_UP: u32 = 1;
/// `RTM_NEWLINK`
const NEW_LINK: u16 = 16;
/// `RTM_NEWADDR`
const NEW_ADDRESS: u16 = 20;
/// `NLM_F_CREATE`, `NLM_F_EXCL`
const CREATE: u16 = 0x400 | 0x200;
/// `IFLA_IFNAME`, `IFLA_LINKINFO` (include/uapi/linux/if_link.h)
const IFNAME: u16 = 3;
const LINKINFO: u16 = 18;
/// `IFLA_INFO_KIND`, `IFLA_INFO_DATA`
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
/// `VETH_INFO_PEER` (include/uapi/linux/veth.h)
const INFO_PEER: u16 = 1;
/// `IFA_LOCAL` (include/uapi/linux/if_addr.h)
const LOCAL: u16 = 2;
/// `IFA_F_NODAD`: the address is there at once
const NO_DETECTION: u8 = 0x02;

/// Brings up loopback and makes the second device in the thread's namespace. `false` where the kernel knows no such
/// device: an index that no device has is taken for one all the same by SO_BINDTOIFINDEX.
///
/// # Errors
/// The kernel's.
pub(crate) fn set_up() -> Result<bool> {
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE).context("netlink")?;
    netlink.ask(NEW_LINK, ACK, &link(LOOPBACK, IFF_UP)).context("bringing up loopback")?;
    add_address(&mut netlink, LOOPBACK)?;
    match netlink.ask(NEW_LINK, ACK | CREATE, &veth()?) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(false),
        made => made.context("making a veth device")?,
    };
    netlink.ask(NEW_LINK, ACK, &peer(IFF_UP)?).context("bringing up the other end of it")?;
    netlink.ask(NEW_LINK, ACK, &link(VETH, IFF_UP)).context("bringing up the veth device")?;
    add_address(&mut netlink, VETH)?;
    Ok(true)
}

fn add_address(netlink: &mut Netlink, device: u32) -> Result<()> {
    /// Of the one address alone
    const PREFIX: u8 = 128;
    let mut body = vec![libc::AF_INET6 as u8, PREFIX, NO_DETECTION, libc::RT_SCOPE_UNIVERSE];
    body.extend(device.to_ne_bytes());
    body.extend(attribute(LOCAL, &SECOND_V6.octets())?);
    netlink.ask(NEW_ADDRESS, ACK | CREATE, &body).context("adding an IPv6 address")?;
    Ok(())
}

/// A pair, one end of it with the index. Neither is up before the other is there (drivers/net/veth.c, `veth_open`).
fn veth() -> io::Result<Vec<u8>> {
    let mut info = attribute(INFO_KIND, b"veth")?;
    info.extend(attribute(INFO_DATA, &attribute(INFO_PEER, &peer(0)?)?)?);
    let mut body = link(VETH, 0);
    body.extend(attribute(IFNAME, b"d0\0")?);
    body.extend(attribute(LINKINFO, &info)?);
    Ok(body)
}

/// The other end, by its name.
fn peer(flags: u32) -> io::Result<Vec<u8>> {
    Ok([link(0, flags), attribute(IFNAME, b"d1\0")?].concat())
}

/// `struct ifinfomsg` of a device that is to have these flags.
fn link(index: u32, flags: u32) -> Vec<u8> {
    let (family_and_type, flags) = ([0; 4], flags.to_ne_bytes());
    [family_and_type, index.to_ne_bytes(), flags, flags].concat()
}
