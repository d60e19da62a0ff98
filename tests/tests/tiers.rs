//! What a kernel does not have, or was to be done without, is said tier by tier, and the rest goes on.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    effort, events,
    generator::Group,
    groups,
    sockets::{self, Transport},
};
use socket2::SockAddr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What to do without, and which tiers that costs wherever everything else is there.
type Cost<'a> = (&'a str, &'a [&'a str]);

/// Those that stand together cost nothing in common, and neither sees what the other one would.
const COSTS: &[&[Cost<'_>]] = &[
    &[
        ("syscall_tracepoints", &["answers", "options"]),
        ("selection_members", &["selection", "flows", "selection_drops", "passing"]),
    ],
    &[
        (
            "cgroup,bpf_loop,sched_process_exit",
            &["close", "other_ways", "holders", "group_order", "multicast", "passing", "exit"],
        ),
        ("sched_process_exec", &["processes"]),
    ],
    &[
        (
            "holder_members,circumstance_members,gauge_members,exit_members,connect_members",
            &["holders", "circumstances", "queues", "exit", "implicit_connect"],
        ),
        ("sk_data_ready,fentry,kprobe,udp_refused_datagram", &["selection", "flows", "passing"]),
    ],
    &[
        (
            "syscall_tracepoints,cgroup,inet_sock_set_state",
            &[
                "close",
                "other_ways",
                "bind",
                "listen",
                "holders",
                "circumstances",
                "answers",
                "implicit_connect",
                "options",
            ],
        ),
        (
            "creator_members,multicast_members,passing_members,sched_process_fork",
            &["creator", "multicast", "passing", "processes"],
        ),
    ],
    &[
        (
            "way_members,udp_fail_queue_rcv_skb,fentry,io_uring_complete",
            &["other_ways", "implicit_connect", "selection_drops", "io_uring"],
        ),
        ("flow_members,group_members", &["flows", "groups", "group_order"]),
    ],
];

/// The tiers that are not active.
fn inactive(daemon: &Daemon) -> Result<BTreeSet<String>> {
    let metrics = daemon.metrics()?;
    let tiers = metrics.series("reuse_daemon_tier_active", &[]).filter(|(_, value)| *value < 1.0);
    tiers.map(|(labels, _)| labels.get("tier").cloned().context("a tier without a name")).collect()
}

/// Sends datagrams to a group of two: how many selections the daemon counts.
fn selections_of_50(daemon: &Daemon, group: &Group) -> Result<u64> {
    for _ in 0..50 {
        let sender = sockets::open(Transport::Udp, LOOPBACK)?;
        sender.send_to(b"x", &SockAddr::from(group.address()))?;
    }
    let members = groups::members(&groups::of_inode(daemon, group.inode()?)?)?;
    Ok(members.values().map(|member| member.selections).sum())
}

/// Compares what a daemon does without now and, beside what was inactive `before`, is to do without.
fn assert_costs(before: &BTreeSet<String>, (avoided, cost): Cost<'_>) -> Result<()> {
    let Some(daemon) = Daemon::start(&["--trace.avoid", avoided])? else { return Ok(()) };
    let mut expected = before.clone();
    expected.extend(cost.iter().map(|tier| (*tier).to_owned()));
    assert_eq!(inactive(&daemon)?, expected, "without {avoided}");
    let bound = sockets::bound(Transport::Tcp, (LOOPBACK, 0).into())?;
    if !cost.contains(&"bind") {
        events::wait_for(&daemon, &bound, "bind", "bind").with_context(|| format!("without {avoided}"))?;
    }
    let stopped = daemon.stop_cleanly()?;
    for tier in cost.iter().filter(|tier| !before.contains(**tier)) {
        ensure!(stopped.stderr.contains(&format!("({tier})")), "{avoided}: no word of {tier}");
    }
    Ok(())
}

#[test]
fn what_is_done_without_costs_its_own_tiers() -> Result<()> {
    let Some(whole) = Daemon::shared(&[])? else { return Ok(()) };
    let before = inactive(&whole)?;
    drop(whole);
    let all = COSTS.concat();
    let fewer = effort::fewer_but(all.len(), COSTS.len(), "daemons");
    if fewer == all.len() {
        return all.into_iter().try_for_each(|cost| assert_costs(&before, cost));
    }
    for together in COSTS {
        let (avoided, costs): (Vec<_>, Vec<_>) = together.iter().copied().unzip();
        assert_costs(&before, (&avoided.join(","), &costs.concat()))?;
    }
    Ok(())
}

#[test]
fn the_strict_name_every_gap() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let flags = ["--config.strict", "--trace.avoid=bpf_loop", "--trace.avoid=gauge_members,exit_members"];
    let refusal = launch.flags(flags).run_to_end()?;
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.stderr);
    for word in ["holders: bpf_loop", "queues: gauge_members", "exit: exit_members", "--config.strict"] {
        ensure!(refusal.stderr.contains(word), "no {word:?} in {}", refusal.stderr);
    }
    Ok(())
}

#[test]
fn what_no_kernel_can_lack_is_no_capability() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let refusal = launch.flags(["--trace.avoid=bpf_lop"]).run_to_end()?;
    assert_eq!(refusal.status.code(), Some(2), "{}", refusal.stderr);
    ensure!(refusal.stderr.contains("bpf_loop"), "{}", refusal.stderr);
    Ok(())
}

#[test]
fn without_the_walk_a_holder_is_the_one_remembered() -> Result<()> {
    for avoided in ["bpf_loop", "holder_members"] {
        let Some(daemon) = Daemon::start(&["--trace.avoid", avoided])? else { return Ok(()) };
        let holder = sockets::bound(Transport::Tcp, (LOOPBACK, 0).into())?;
        events::wait_for(&daemon, &holder, "bind", "bind")?;
        let contender = sockets::open(Transport::Tcp, LOOPBACK)?;
        ensure!(
            contender.bind(&SockAddr::from(sockets::local_address(&holder)?)).is_err(),
            "given away twice"
        );
        let event = events::wait_for(&daemon, &contender, "conflict", "bind")?;
        ensure!(event["confidence"] == "best_evidence", "without {avoided}: {event}");
        let holders = event["holders"].as_array().context("holders")?;
        let inode = sockets::inode(&holder)?;
        ensure!(holders.iter().any(|found| found["inode"] == inode), "without {avoided}: {event}");
    }
    Ok(())
}

#[test]
fn without_system_calls_selections_and_binds_go_on() -> Result<()> {
    let group = Group::open(Transport::Udp, LOOPBACK, 2)?;
    let Some(daemon) = Daemon::start(&["--trace.syscalls=false"])? else { return Ok(()) };
    let bound = sockets::bound(Transport::Tcp, (LOOPBACK, 0).into())?;
    assert_eq!(selections_of_50(&daemon, &group)?, 50);
    let inactive = inactive(&daemon)?;
    ensure!(inactive.contains("answers") && !inactive.contains("bind"), "{inactive:?}");
    events::wait_for(&daemon, &bound, "bind", "bind")?;
    let stopped = daemon.stop_cleanly()?;
    ensure!(stopped.stderr.contains("--trace.syscalls=false"), "{}", stopped.stderr);
    Ok(())
}
