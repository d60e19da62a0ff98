//! On which device the kernel keeps an address of its own, asked over rtnetlink(7).

use std::{io, net::Ipv4Addr};

use nix::sys::socket::SockProtocol;

use super::netlink::{Netlink, attribute, attributes};

/// include/uapi/linux/rtnetlink.h
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// `struct rtmsg`
const MESSAGE: usize = 12;
/// Answer with the entry of the table, not with what a packet would take (4.13)
const RTM_F_FIB_MATCH: u32 = 0x2000;

/// Index of the device of the route that decides about `address`; `None` where there is none.
///
/// # Errors
/// The kernel refuses the request.
pub fn device_of(address: Ipv4Addr) -> io::Result<Option<u32>> {
    let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    let mut device = None;
    let answered = netlink.request(RTM_GETROUTE, false, &request(address), |kind, body| {
        if kind == RTM_NEWROUTE {
            device = device_in(body);
        }
    });
    match answered {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH)) => {
            Ok(None)
        }
        result => result.map(|()| device),
    }
}

fn request(address: Ipv4Addr) -> Vec<u8> {
    let mut request = vec![libc::AF_INET as u8, 32, 0, 0, 0, 0, 0, 0];
    request.extend(RTM_F_FIB_MATCH.to_ne_bytes());
    request.extend(attribute(RTA_DST, &address.octets()));
    request
}

fn device_in(body: &[u8]) -> Option<u32> {
    let (_, index) = attributes(body.get(MESSAGE..)?).find(|(kind, _)| *kind == RTA_OIF)?;
    index.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_addresses() {
        let lo = nix::net::if_::if_nametoindex("lo").unwrap();
        for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 9, 9, 9)] {
            assert_eq!(device_of(address).unwrap(), Some(lo), "{address}");
        }
    }
}
