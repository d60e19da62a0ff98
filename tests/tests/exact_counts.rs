//! The daemon's totals against the generator's own: equal, not close.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
};

use anyhow::{Context, Result};
use reuse_tests::{
    attempts::Tally,
    daemon::{Daemon, Launch},
    effort,
    events::foreign_binds,
    generator::{self, Calls, Group, Share, Traffic},
    groups::{self, Member},
    metrics::Metrics,
    namespace::Namespace,
    sockets::{self, Transport, family_name},
};

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const MEMBERS: usize = 4;

/// Compares each member's selections, in the API and in the metrics, with what its socket got.
fn assert_selections(daemon: &Daemon, group: &Group, shares: &[Share]) -> Result<()> {
    let shown = groups::of_inode(daemon, group.inode()?)?;
    let members = groups::members(&shown)?;
    let metrics = daemon.metrics()?;
    let numbers: std::collections::BTreeSet<_> = members.values().map(|member| &member.number).collect();
    assert_eq!(numbers.len(), shares.len(), "members of {shown}");
    // A listener drops packets as well, which its client sends again: what the kernel counts is what is to be shown.
    let mut dropped_at = std::collections::BTreeMap::new();
    for member in group.members() {
        dropped_at.insert(sockets::inode(member)?, u64::from(sockets::drops(member)?));
    }
    for share in shares {
        let Member { number, selections, drops } =
            members.get(&share.inode).with_context(|| format!("no member {} in {shown}", share.inode))?;
        assert_eq!(*selections, share.taken + share.dropped, "selections of {share:?} in {shown}");
        let kernel_drops = *dropped_at.get(&share.inode).context("a member")?;
        assert!(kernel_drops >= share.dropped, "{share:?}, the kernel: {kernel_drops}");
        assert_eq!(*drops, kernel_drops, "drops of {share:?} in {shown}");
        let counted = groups::member_metric(&metrics, "reuse_group_selections_total", &shown, number)?;
        assert_eq!(counted, share.taken + share.dropped, "selections in metrics of {share:?} in {shown}");
        let dropped = groups::member_metric(&metrics, "reuse_group_drops_total", &shown, number)?;
        assert_eq!(dropped, kernel_drops, "drops in metrics of {share:?} in {shown}");
    }
    Ok(())
}

fn assert_nothing_lost(metrics: &Metrics) {
    for (labels, lost) in metrics.series("reuse_daemon_events_lost_total", &[]) {
        assert!(lost == 0.0, "{lost} events lost: {labels:?}");
    }
    assert!(metrics.sum("reuse_daemon_events_lost_total", &[]).is_some(), "losses are not exported");
}

/// Datagrams to a group from four threads at once, in the calling thread's namespace.
fn udp(group: &Group, count: usize) -> Result<Vec<Share>> {
    generator::datagrams(group, Traffic { count, threads: 4, read_late: false })
}

#[test]
fn ten_thousand_binds() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("binds")?;
    let daemon = launch.flags(["--events.repeats", "all"]).start()?;
    let before = daemon.metrics()?;
    let foreign_before = foreign_binds(&daemon.events()?);

    // Of each thread, and how many of them are refused.
    let (binds, refused) =
        (effort::fewer(2_500, "binds a thread"), effort::fewer(750, "refusals among them"));
    let calls = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|number| {
                let namespace = &namespace;
                scope.spawn(move || {
                    if number % 2 == 1 {
                        namespace.enter()?;
                    }
                    generator::binds(binds, refused)
                })
            })
            .collect();
        let mut calls = Calls::default();
        for worker in workers {
            calls.merge(&worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        anyhow::Ok(calls)
    })?;
    let made = calls.binds.total(|_| true);
    assert_eq!(made, 4 * binds);
    assert_eq!(calls.binds.total(|result| result != "success"), 4 * refused);

    let of_scrape = |metrics: &Metrics, name: &str| Tally::of_scrape(metrics, name).internet_only();
    let binds_before = of_scrape(&before, "reuse_bind_attempts_total");
    daemon.metrics_until("every attempt", |now| {
        let seen = of_scrape(now, "reuse_bind_attempts_total").since(&binds_before);
        (seen.total(|_| true) >= made).then_some(())
    })?;
    // The scrape between two readings of the others' events that agree is the one to compare.
    let (metrics, foreign) =
        reuse_tests::deadline::until("a quiet moment", reuse_tests::deadline::PROMPT, || {
            let earlier = foreign_binds(&daemon.events()?);
            let metrics = daemon.metrics()?;
            let later = foreign_binds(&daemon.events()?);
            Ok((earlier == later).then_some((metrics, later.since(&foreign_before))))
        })?;
    let mut expected = calls.binds.clone();
    expected.merge(&foreign);
    let seen = of_scrape(&metrics, "reuse_bind_attempts_total").since(&binds_before);
    assert_eq!(seen, expected, "binds seen:\n{seen}expected (of them by others:\n{foreign}):\n{expected}");

    let listens = of_scrape(&metrics, "reuse_listen_attempts_total")
        .since(&of_scrape(&before, "reuse_listen_attempts_total"));
    if foreign == Tally::default() {
        assert_eq!(listens, calls.listens, "listens seen:\n{listens}expected:\n{}", calls.listens);
    }
    assert_nothing_lost(&metrics);
    Ok(())
}

#[test]
fn four_thousand_connections() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("connections")?;
    // One group is there before the daemon, the others come later.
    let early = Group::open(Transport::Tcp, IPV4, MEMBERS)?;
    let daemon = launch.start()?;
    let ipv6 = Group::open(Transport::Tcp, IPV6, MEMBERS)?;
    let mptcp = Group::open(Transport::Mptcp, IPV4, MEMBERS)?;
    for group in [&early, &ipv6, &mptcp] {
        let shares = generator::connections(group, 1_000, 4)?;
        assert_selections(&daemon, group, &shares).context("on the host")?;
    }
    let (group, shares) = namespace.run(|| {
        let group = Group::open(Transport::Tcp, IPV4, MEMBERS)?;
        let shares = generator::connections(&group, 1_000, 4)?;
        Ok((group, shares))
    })?;
    assert_selections(&daemon, &group, &shares).context("in a namespace")?;
    assert_nothing_lost(&daemon.metrics()?);
    Ok(())
}

#[test]
fn four_hundred_thousand_datagrams() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("datagrams")?;
    let early = Group::open(Transport::Udp, IPV4, MEMBERS)?;
    let early_inside = namespace.run(|| Group::open(Transport::Udp, IPV6, MEMBERS))?;
    let daemon = launch.start()?;
    let late = Group::open(Transport::Udp, IPV6, MEMBERS)?;
    let late_inside = namespace.run(|| Group::open(Transport::Udp, IPV4, MEMBERS))?;

    let count = effort::fewer(100_000, "datagrams a group");
    // All four groups get their traffic at the same time.
    thread::scope(|scope| {
        let runs: Vec<_> = [(&early, false), (&early_inside, true), (&late, false), (&late_inside, true)]
            .into_iter()
            .map(|(group, inside)| {
                let namespace = &namespace;
                let work =
                    move || if inside { namespace.run(|| udp(group, count)) } else { udp(group, count) };
                (group, scope.spawn(work))
            })
            .collect();
        for (group, run) in runs {
            let shares = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            assert_selections(&daemon, group, &shares)
                .with_context(|| format!("{} {}", family_name(group.address().ip()), group.address()))?;
        }
        anyhow::Ok(())
    })?;
    assert_nothing_lost(&daemon.metrics()?);
    Ok(())
}

#[test]
fn datagrams_dropped_for_a_full_buffer_were_selected_too() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for address in [IPV4, IPV6] {
        let group = Group::open(Transport::Udp, address, MEMBERS)?;
        for member in group.members() {
            member.set_recv_buffer_size(4_096)?;
        }
        let shares = generator::datagrams(&group, Traffic { count: 20_000, threads: 4, read_late: true })?;
        assert!(shares.iter().any(|share| share.dropped > 0), "no buffer filled: {shares:?}");
        assert_selections(&daemon, &group, &shares)?;
    }
    Ok(())
}

#[test]
fn members_that_join_and_leave_keep_the_others_counts() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut group = Group::open(Transport::Udp, IPV4, 2)?;
    let first = udp(&group, 10_000)?;
    assert_selections(&daemon, &group, &first)?;

    group.join()?;
    let second = udp(&group, 10_000)?;
    let sum = |shares: &[Share], inode: u64| {
        shares
            .iter()
            .filter(|share| share.inode == inode)
            .map(|share| share.taken + share.dropped)
            .sum::<u64>()
    };
    let members = groups::members(&groups::of_inode(&daemon, group.inode()?)?)?;
    assert_eq!(members.len(), 3);
    for (inode, member) in &members {
        assert_eq!(
            member.selections,
            sum(&first, *inode) + sum(&second, *inode),
            "member {inode} after the join"
        );
    }

    group.leave(0);
    let third = udp(&group, 10_000)?;
    let members = reuse_tests::deadline::until("the member is gone", reuse_tests::deadline::PROMPT, || {
        let members = groups::members(&groups::of_inode(&daemon, group.inode()?)?)?;
        Ok((members.len() == 2).then_some(members))
    })?;
    for (inode, member) in &members {
        let expected = sum(&first, *inode) + sum(&second, *inode) + sum(&third, *inode);
        assert_eq!(member.selections, expected, "member {inode} after the other left");
    }
    Ok(())
}
