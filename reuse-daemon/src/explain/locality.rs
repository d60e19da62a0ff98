//! Which addresses are the host's own, as bind sees it, read from what procfs prints of the kernel's tables.
//!
//! IPv4 asks the routing table `local` (net/ipv4/fib_frontend.c, `inet_addr_type_table`), so that a `local` route makes a
//! whole prefix bindable and a more specific route of another type takes a part of it back. `fib_trie` shows that table as
//! the lookup walks it, also where the kernel keeps `local` and `main` in one trie, which a dump by table does not. IPv6
//! asks the interfaces' addresses (net/ipv6/addrconf.c, `ipv6_chk_addr`), and no route.

use std::{
    io::{self, BufRead},
    net::{Ipv4Addr, Ipv6Addr},
};

/// Flags of an IPv6 address (include/uapi/linux/if_addr.h); the file shows the low eight bits.
const IFA_F_OPTIMISTIC: u8 = 0x04;
const IFA_F_TENTATIVE: u8 = 0x40;
/// Scopes that belong to one interface alone (include/net/ipv6.h, `IFA_HOST`, `IFA_LINK`).
const IFA_HOST: u8 = 0x10;
const IFA_LINK: u8 = 0x20;

/// Whether there is a table `local` at all, by `fib_triestat` (`/proc/PID/net/fib_triestat`), which unlike `fib_trie` shows
/// empty ones too. A network namespace in which no interface was ever up has none, and bind then takes every address
/// (`__inet_dev_addr_type` answers RTN_BROADCAST).
///
/// # Errors
/// Reading fails.
pub fn has_local_table(fib_triestat: impl BufRead) -> io::Result<bool> {
    for line in fib_triestat.lines() {
        if line? == "Local:" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the table `local` of `fib_trie` (`/proc/PID/net/fib_trie`) has `address` as a local, broadcast or multicast
/// one: the entry with the longest prefix decides, the first of several with the same.
///
/// # Errors
/// Reading fails.
pub fn ipv4_is_local(fib_trie: impl BufRead, address: Ipv4Addr) -> io::Result<bool> {
    let mut in_local = false;
    let mut leaf = None;
    let mut best: Option<(u32, bool)> = None;
    for line in fib_trie.lines() {
        let line = line?;
        if !line.starts_with(' ') {
            in_local = line == "Local:";
            continue;
        }
        if !in_local {
            continue;
        }
        let entry = line.trim_start();
        if let Some(key) = entry.strip_prefix("|-- ") {
            leaf = key.parse::<Ipv4Addr>().ok();
        } else if let (Some(key), Some(entry)) = (leaf, entry.strip_prefix('/'))
            && let Some((length, bindable)) = alias(entry)
            && covers(key, length, address)
            && best.is_none_or(|(longest, _)| length > longest)
        {
            best = Some((length, bindable));
        }
    }
    Ok(best.is_some_and(|(_, bindable)| bindable))
}

/// `32 host LOCAL`: length of the prefix, and whether its type is one that bind takes. Entries for one type of service
/// (`tos=`) do not count for a lookup without.
fn alias(entry: &str) -> Option<(u32, bool)> {
    let mut words = entry.split_ascii_whitespace();
    let length = words.next()?.parse().ok().filter(|length| *length <= 32)?;
    let _scope = words.next()?;
    let kind = words.next()?;
    if words.any(|word| word.starts_with("tos=")) {
        return None;
    }
    Some((length, matches!(kind, "LOCAL" | "BROADCAST" | "MULTICAST")))
}

fn covers(key: Ipv4Addr, length: u32, address: Ipv4Addr) -> bool {
    let differing = key.to_bits() ^ address.to_bits();
    differing.checked_shr(32 - length).unwrap_or(0) == 0
}

/// Whether an interface of `if_inet6` (`/proc/PID/net/if_inet6`) has `address`, that with index `device` where it is not
/// 0 and the address is one of a link.
#[must_use]
pub fn ipv6_is_local(if_inet6: &str, address: Ipv6Addr, device: u32) -> bool {
    if_inet6.lines().filter_map(InterfaceAddress::parse).any(|found| {
        found.address == address
            && found.is_settled()
            && (device == 0 || found.device == device || !found.is_of_one_link())
    })
}

/// A line of `if_inet6`: address, index, length of the prefix, scope, flags, name; all numbers hexadecimal.
struct InterfaceAddress {
    address: Ipv6Addr,
    device: u32,
    scope: u8,
    flags: u8,
}

impl InterfaceAddress {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let address = Ipv6Addr::from_bits(u128::from_str_radix(words.next()?, 16).ok()?);
        let device = u32::from_str_radix(words.next()?, 16).ok()?;
        let _length = words.next()?;
        let scope = u8::from_str_radix(words.next()?, 16).ok()?;
        let flags = u8::from_str_radix(words.next()?, 16).ok()?;
        Some(Self { address, device, scope, flags })
    }

    /// Not waiting for the answer whether another host has it; an optimistic address is used meanwhile.
    fn is_settled(&self) -> bool {
        self.flags & IFA_F_TENTATIVE == 0 || self.flags & IFA_F_OPTIMISTIC != 0
    }

    fn is_of_one_link(&self) -> bool {
        self.scope & (IFA_HOST | IFA_LINK) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.1.0.0
        /16 host LOCAL
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.9.0.0/16 2 0 2
        |-- 10.9.0.0
           /24 universe UNREACHABLE
           /16 host LOCAL
        |-- 10.9.7.7
           /32 host LOCAL tos=16
           /32 link UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
Id 100:
  |-- 10.2.0.0
     /16 host LOCAL
";

    fn local(address: &str) -> bool {
        ipv4_is_local(TRIE.as_bytes(), address.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_longest_prefix_of_the_table_local_decides() {
        for address in ["127.0.0.1", "127.9.9.9", "127.255.255.255", "10.9.1.1"] {
            assert!(local(address), "{address}");
        }
        for (address, why) in [
            ("8.8.8.8", "only the default route"),
            ("10.9.0.5", "a longer prefix of another type"),
            ("10.9.7.7", "an entry for one type of service does not count"),
            ("10.1.0.1", "another table"),
            ("10.2.0.1", "another table"),
        ] {
            assert!(!local(address), "{address}: {why}");
        }
        assert!(!ipv4_is_local(&b""[..], Ipv4Addr::LOCALHOST).unwrap(), "the table is empty");
    }

    #[test]
    fn an_empty_table_is_a_table() {
        let head = "Basic info: size of leaf: 48 bytes, size of tnode: 40 bytes.\n";
        let with = format!("{head}Main:\n\tLeaves:         0\nLocal:\n\tLeaves:         0\n");
        assert!(has_local_table(with.as_bytes()).unwrap());
        assert!(!has_local_table(head.as_bytes()).unwrap());
    }

    const ADDRESSES: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000002 04 40 00 82     eth0
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
fd000000000000000000000000000003 04 40 00 c0     eth0
fd000000000000000000000000000004 04 40 00 c4     eth0
not a line
";

    #[test]
    fn an_interface_has_the_address_and_a_link_its_own() {
        for (address, device, expected) in [
            ("::1", 0, true),
            ("::1", 1, true),
            ("::1", 4, false),
            ("fd00::2", 4, true),
            ("fd00::2", 1, true),
            ("fd00::9", 0, false),
            ("fe80::fc:ff:fe00:1", 4, true),
            ("fe80::fc:ff:fe00:1", 1, false),
            ("fd00::3", 0, false),
            ("fd00::4", 0, true),
        ] {
            let found = ipv6_is_local(ADDRESSES, address.parse().unwrap(), device);
            assert_eq!(found, expected, "{address} on {device}");
        }
    }

    #[test]
    fn this_host_has_its_own_loopback() {
        let open = std::fs::File::open("/proc/self/net/fib_trie").map(io::BufReader::new);
        let known = std::net::UdpSocket::bind("127.0.0.1:0").is_ok();
        assert_eq!(ipv4_is_local(open.unwrap(), Ipv4Addr::LOCALHOST).unwrap(), known);
    }
}
