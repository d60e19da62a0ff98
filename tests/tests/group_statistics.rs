//! What the daemon says of a group's flows, in the interface and in the metrics, against traffic that is counted here.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::Daemon,
    deadline,
    generator::Group,
    groups, skip,
    sockets::{self, Transport},
};
use serde_json::Value;
use socket2::SockAddr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Enough for a p-value over two members, in all.
const FLOWS: u64 = 64;
/// Fewest that are compared: five for each member.
const FLOWS_MIN: u64 = 10;
/// Datagrams of each flow: by datagrams there would be twenty times as many.
const DATAGRAMS: u64 = 20;

fn send(group: &Group) -> Result<()> {
    for _ in 0..FLOWS {
        let client = sockets::open(group.transport(), LOOPBACK)?;
        client.connect(&SockAddr::from(group.address()))?;
        if group.transport() == Transport::Udp {
            for _ in 0..DATAGRAMS {
                client.send(b"x")?;
            }
        }
    }
    Ok(())
}

/// The group once all that was sent is counted in its window.
fn counted(daemon: &Daemon, group: &Group, selections: u64) -> Result<Value> {
    let inode = group.inode()?;
    deadline::until("all selections are in the window", deadline::PROMPT, || {
        let shown = groups::of_inode(daemon, inode)?;
        let members = shown["members"].as_array().context("members")?;
        let sum: u64 = members.iter().filter_map(|member| member["window"]["selections"].as_u64()).sum();
        Ok((sum == selections).then_some(shown))
    })
}

#[test]
fn flows_of_the_running_window_are_compared() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--test-group.enable=false"])? else { return Ok(()) };
    for (transport, selections) in [(Transport::Tcp, FLOWS), (Transport::Udp, FLOWS * DATAGRAMS)] {
        let group = Group::open(transport, LOOPBACK, 2)?;
        let inode = sockets::inode(&group.members()[1])?;
        let joins = |event: &Value| event["type"] == "group" && event["inode"] == inode;
        let join = daemon.wait_event("the second joins", joins)?;
        send(&group)?;
        let shown = counted(&daemon, &group, selections)?;
        assert_eq!(shown["verdict"], Value::Null, "no window has closed: {shown}");
        let indices: Vec<_> =
            shown["members"].as_array().context("members")?.iter().map(|m| &m["index"]).collect();
        assert_eq!(indices, [0, 1], "{shown}");
        if shown["selector"] == "hash" {
            assert_eq!(shown["expected_share"], 0.5, "{shown}");
            // Null where nothing of the group was read before.
            assert!(join["moved_share"].is_null() || join["moved_share"] == 0.5, "{join}");
        } else {
            skip::skip("the kernel's groups are not read here");
        }
        if shown["flows"].is_null() {
            skip::skip(&format!("{transport:?}: flows are not told apart here"));
            continue;
        }
        let flows = shown["flows"].as_u64().context("flows")?;
        match transport {
            // Of a burst of datagrams the kernel side looks at some, each flow counts once.
            Transport::Udp => assert!((1..=FLOWS).contains(&flows), "{shown}"),
            _ => assert_eq!(flows, FLOWS, "{shown}"),
        }
        let text = daemon.metrics()?;
        let filter = [("port", &*group.address().port().to_string()), ("protocol", transport.name())];
        assert_eq!(text.count("reuse_group_info", &filter), 1, "{}", shown["selector"]);
        if flows < FLOWS_MIN {
            assert_eq!(shown["p_value"], Value::Null, "too few for two members: {shown}");
            continue;
        }
        assert_eq!(text.count("reuse_group_uniformity_flows", &filter), flows);
        // As unlikely as the alert demands, which a fair kernel does once in a million runs.
        let p_value = shown["p_value"].as_f64().context("a p-value")?;
        assert!(p_value > 1e-6, "{transport:?}: {shown}");
    }
    Ok(())
}
