//! What the checks before the port depend on, read for the calling thread's network namespace. Nothing is bound for it.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    net::IpAddr,
};

use reuse_model::rulebook::{
    Contender,
    precheck::{Surroundings, local_everywhere},
};

use super::{
    asker::Asker,
    locality::{has_local_table, ipv4_is_local, ipv6_is_local},
};

/// Of this thread, not of the process: it may be in another namespace (proc_pid_net(5)).
const FIB_TRIE: &str = "/proc/thread-self/net/fib_trie";
const FIB_TRIESTAT: &str = "/proc/thread-self/net/fib_triestat";
const IF_INET6: &str = "/proc/thread-self/net/if_inet6";
const IPV4: &str = "/proc/sys/net/ipv4";
const IPV6: &str = "/proc/sys/net/ipv6";

/// Reads them for a contender that `asker` would make.
///
/// Devices in a VRF have address tables of their own, which are not looked at.
///
/// # Errors
/// procfs cannot be read.
pub fn read(contender: &Contender, asker: Asker) -> io::Result<Surroundings> {
    // A mapped address is checked as IPv4.
    let (address, settings) = match contender.address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => (IpAddr::V4(v4), IPV4),
            None => (contender.address, IPV6),
        },
        IpAddr::V4(_) => (contender.address, IPV4),
    };
    let address_is_local = local_everywhere(contender.address)
        || match address {
            // No device is looked at, not even for a mapped address (`inet_addr_type_dev_table` finds the table by it).
            IpAddr::V4(v4) => {
                ipv4_is_local(BufReader::new(File::open(FIB_TRIE)?), v4)?
                    || !has_local_table(BufReader::new(File::open(FIB_TRIESTAT)?))?
            }
            IpAddr::V6(v6) => ipv6_is_local(&optional(IF_INET6)?, v6, contender.device),
        };
    Ok(Surroundings {
        address_is_local,
        nonlocal_bind: number(&format!("{settings}/ip_nonlocal_bind"))? != 0,
        unprivileged_port_start: number(&format!("{IPV4}/ip_unprivileged_port_start"))?,
        may_bind_privileged: asker.may_bind_privileged,
    })
}

/// The file's text, empty where the kernel was built without what it shows.
fn optional(path: &str) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

fn number(path: &str) -> io::Result<u16> {
    let text = optional(path)?;
    // A kernel without IPv6 has no settings of it, and no address of it either.
    text.trim().parse().or(if text.is_empty() { Ok(0) } else { Err(io::ErrorKind::InvalidData.into()) })
}
