//! A kernel that is locked down: what the daemon can do under integrity, it does; under confidentiality it can read nothing
//! of the kernel, and says so.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    events,
    sockets::{self, Transport},
};

/// The modes with the one in force in brackets; absent where the kernel has no such module or securityfs is not mounted
/// (security/lockdown/lockdown.c, `lockdown_read`).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The mode in force; `none` where nothing is known of one.
fn mode() -> String {
    let modes = fs::read_to_string(LOCKDOWN).unwrap_or_default();
    let inside = modes.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or("none", |(mode, _)| mode).to_owned()
}

#[test]
fn the_daemon_works_or_says_which_lockdown_keeps_it_from_it() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    match mode().as_str() {
        "confidentiality" => {
            let refusal = launch.run_to_end()?;
            ensure!(!refusal.status.success(), "it ended with {}", refusal.status);
            for word in ["lockdown", "confidentiality"] {
                ensure!(refusal.stderr.contains(word), "no word of {word}: {}", refusal.stderr);
            }
        }
        _ => tells_a_bind_and_its_refusal(&launch.start()?)?,
    }
    Ok(())
}

fn tells_a_bind_and_its_refusal(daemon: &Daemon) -> Result<()> {
    let holder = sockets::bound(Transport::Tcp, (LOOPBACK, 0).into())?;
    let contender = sockets::open(Transport::Tcp, LOOPBACK)?;
    let address = sockets::local_address(&holder)?;
    ensure!(contender.bind(&address.into()).is_err(), "{address} was given away twice");
    events::wait_for(daemon, &holder, "bind", "bind")?;
    let refusal = events::wait_for(daemon, &contender, "conflict", "bind")?;
    ensure!(refusal["confidence"] == "exact", "{refusal}");
    Ok(())
}
