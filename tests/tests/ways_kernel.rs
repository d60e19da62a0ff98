//! Sockets that the kernel makes and binds itself, at the request of a process that has no descriptor of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    events::assert_fields,
    sockets::{self, Transport},
    ways::{agreement, kernel::Vxlan, stage},
};
use serde_json::json;

/// The identifier of the device, and whether its socket is IPv6.
const DEVICES: [(u32, bool); 2] = [(1, false), (2, true)];

fn address(ipv6: bool) -> (&'static str, IpAddr) {
    if ipv6 { ("ipv6", Ipv6Addr::UNSPECIFIED.into()) } else { ("ipv4", Ipv4Addr::UNSPECIFIED.into()) }
}

#[test]
fn a_socket_the_kernel_binds_is_told() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("kernel", &[])? else { return Ok(()) };
    for (identifier, ipv6) in DEVICES {
        let port = 4_700 + u16::try_from(identifier)?;
        let Some(device) = Vxlan::new(&namespace, identifier, port, ipv6)? else { return Ok(()) };
        let (family, any) = address(ipv6);
        let labels = [("family", family), ("protocol", "udp"), ("result", "success")];
        let before = daemon.metrics()?.count("reuse_bind_attempts_total", &labels);
        let attempt = device.up()?;
        attempt.outcome.map_err(anyhow::Error::msg)?;
        let of_kernel = |event: &serde_json::Value| {
            event["contender"]["via"] == "kernel" && event["contender"]["port"] == port
        };
        let event = daemon.wait_event("the kernel's bind", of_kernel)?;
        assert_fields(&event, &json!({ "type": "bind", "phase": "bind", "result": "success" }));
        assert_fields(
            &event["contender"],
            &json!({
                "pid": attempt.pid, "comm": "ip", "uid": 0, "protocol": "udp", "family": family,
                "address": any.to_string(), "port": port, "bound_port": port,
            }),
        );
        ensure!(event["contender"]["inode"].as_u64().is_some_and(|inode| inode != 0), "{event}");
        let told = agreement::settle(&daemon)?;
        let after = daemon.metrics()?.count("reuse_bind_attempts_total", &labels);
        ensure!(after > before, "the bind is counted");
        let told = told.iter().filter(|event| of_kernel(event)).count();
        ensure!(told == 1, "told {told} times");

        // Whoever wants the port meets a holder without a process.
        let refused = namespace.run(|| {
            let socket = sockets::open(Transport::Udp, any)?;
            let outcome = socket.bind(&SocketAddr::new(any, port).into());
            ensure!(sockets::result_name(&outcome) == "EADDRINUSE", "{outcome:?}");
            Ok(socket)
        })?;
        let conflict = reuse_tests::events::wait_for(&daemon, &refused, "conflict", "bind")?;
        assert_fields(&conflict["holders"][0], &json!({ "kernel": true, "owners": [] }));
        device.down()?;
    }
    Ok(())
}

#[test]
fn a_socket_the_kernel_cannot_bind_is_told_with_its_holder() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("kernel-held", &[])? else { return Ok(()) };
    for (identifier, ipv6) in DEVICES {
        let port = 4_710 + u16::try_from(identifier)?;
        let Some(device) = Vxlan::new(&namespace, identifier, port, ipv6)? else { return Ok(()) };
        let (family, any) = address(ipv6);
        let holder = namespace.run(|| sockets::bound(Transport::Udp, SocketAddr::new(any, port)))?;
        let attempt = device.up()?;
        let said = attempt.outcome.err().context("the port is held")?;
        ensure!(said.contains("Address already in use"), "{said}");
        let of_kernel = |event: &serde_json::Value| {
            event["contender"]["via"] == "kernel" && event["contender"]["port"] == port
        };
        let event = daemon.wait_event("the kernel's refusal", of_kernel)?;
        assert_fields(
            &event,
            &json!({
                "type": "conflict", "phase": "bind", "result": "EADDRINUSE", "rule": "exclusive", "repeated": 1,
            }),
        );
        assert_fields(
            &event["contender"],
            &json!({
                "pid": attempt.pid, "comm": "ip", "protocol": "udp", "family": family,
                "address": any.to_string(), "bound_port": 0,
            }),
        );
        ensure!(event["holders"][0]["inode"] == sockets::inode(&holder)?, "{event}");
        let told = agreement::settle(&daemon)?.iter().filter(|event| of_kernel(event)).count();
        ensure!(told == 1, "told {told} times");
    }
    Ok(())
}
