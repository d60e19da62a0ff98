//! Every mechanism that can see selections counts the same: alone, against what each member got by its own count, and all
//! of them side by side.

use anyhow::{Context as _, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    effort,
    generator::{Kind, Scene},
    group_members::group_of,
    groups, kernel,
    namespace::Namespace,
    skip, sockets,
};

/// Each with what a daemon must do without to come to it.
const MECHANISMS: [(&str, &str); 3] =
    [("btf_tracepoint", ""), ("fentry", "sk_data_ready"), ("kprobe", "sk_data_ready,fentry")];

/// A daemon that sees selections by this mechanism, or `None` where this kernel has it not.
fn start((mechanism, avoided): (&str, &str)) -> Result<Option<Daemon>> {
    let mut launch = Launch::prepare()?.context("no daemon")?;
    if !avoided.is_empty() {
        launch = launch.flags(["--trace.avoid", avoided]);
    }
    let daemon = launch.start()?;
    let tier = [("tier", "selection"), ("mechanism", mechanism)];
    let active = daemon.metrics()?.sum("reuse_daemon_tier_active", &tier).is_some_and(|active| active >= 1.0);
    Ok(active.then_some(daemon))
}

/// Whether a daemon sees that datagrams of IPv6 were refused for a full buffer: before 6.5 the tracepoint, without which
/// trampolines see it, told of IPv4's alone (net/ipv6/udp.c, `__udpv6_queue_rcv_skb`).
fn sees_refused_ipv6(daemon: &Daemon) -> Result<bool> {
    let unseen = [("bpf_program", "udp_refused_unseen")];
    let by_tracepoint = daemon.metrics()?.sum("reuse_daemon_ebpf_program_attached", &unseen).is_some();
    Ok(!by_tracepoint || kernel::is_at_least(6, 5)?)
}

/// Checks that each member has what it got. Where a wake-up comes in the course of another program, the kernel runs no program
/// for it (docs/tiers.md): the daemon counts those runs, and what it has not counted otherwise are no more than these.
fn assert_counted(scenes: &[Scene], daemon: &Daemon, mechanism: &str) -> Result<()> {
    let (all, sees_refused_ipv6) = (daemon.groups()?, sees_refused_ipv6(daemon)?);
    let (mut missing, mut differing) = (0, Vec::new());
    for Scene { kind, group, shares } in scenes {
        let refused_too = *kind != Kind::TooManyDatagrams || group.address().is_ipv4() || sees_refused_ipv6;
        let shown = group_of(&all, group.members().first().context("a group has a member")?)?;
        let members = groups::members(shown)?;
        for (socket, share) in group.members().iter().zip(shares) {
            let member = members.get(&share.inode).with_context(|| format!("no {share:?} in {shown}"))?;
            let selections = share.taken + if refused_too { share.dropped } else { 0 };
            let uncounted = selections.checked_sub(member.selections);
            let uncounted =
                uncounted.with_context(|| format!("{mechanism}, {kind:?}: {share:?} in {shown}"))?;
            if uncounted > 0 {
                missing += uncounted;
                differing.push(format!("{mechanism}, {kind:?}: {share:?} in {shown}"));
            }
            let drops = u64::from(sockets::drops(socket)?);
            assert_eq!(member.drops, drops, "drops, {mechanism}, {kind:?}: {share:?} in {shown}");
        }
    }
    if missing > 0 {
        let skipped = [("stage", "program_skipped")];
        let skipped = daemon.metrics()?.sum("reuse_daemon_events_lost_total", &skipped).unwrap_or_default();
        ensure!(
            missing as f64 <= skipped,
            "{missing} uncounted, {skipped} skipped: {}",
            differing.join("\n")
        );
        effort::say(&format!(
            "{mechanism}: {missing} uncounted, the kernel skipped a program {skipped} times"
        ));
    }
    Ok(())
}

/// Opens groups, after the daemons and if wished also `before` them, plays everything twice, and compares what each daemon
/// counted. Gives how many daemons there were.
fn act(purpose: &str, mechanisms: &[(&str, &str)], before: bool) -> Result<usize> {
    let namespace = Namespace::new(purpose)?;
    let mut scenes = if before { namespace.run(Scene::open_all)? } else { Vec::new() };
    let mut daemons = Vec::new();
    for mechanism in mechanisms {
        daemons.extend(start(*mechanism)?.map(|daemon| (mechanism.0, daemon)));
    }
    if daemons.is_empty() {
        return Ok(0);
    }
    scenes.extend(namespace.run(Scene::open_all)?);
    for _ in 0..2 {
        namespace.run(|| scenes.iter_mut().try_for_each(Scene::play))?;
        for (mechanism, daemon) in &daemons {
            assert_counted(&scenes, daemon, mechanism)?;
        }
        scenes.iter().try_for_each(Scene::ask_for_cookies)?;
    }
    let selected = scenes.iter().flat_map(|scene| &scene.shares).filter(|share| share.taken > 0).count();
    let entries = |daemon: &Daemon| {
        let entries = daemon.metrics()?.sum("reuse_daemon_map_entries", &[("map", "SELECTIONS")]);
        entries.context("no number of counters")
    };
    for (mechanism, daemon) in &daemons {
        let entries = entries(daemon)?;
        ensure!(entries >= selected as f64, "{mechanism}: {entries} counters of {selected} sockets");
    }
    let full: Vec<f64> = daemons.iter().map(|(_, daemon)| entries(daemon)).collect::<Result<_>>()?;
    drop(scenes);
    for ((mechanism, daemon), full) in daemons.iter().zip(full) {
        deadline::until(&format!("{mechanism} forgets the counters of closed sockets"), PROMPT, || {
            Ok((entries(daemon)? <= full - selected as f64).then_some(()))
        })?;
    }
    Ok(daemons.len())
}

/// One mechanism alone.
fn alone(mechanism: (&str, &str)) -> Result<()> {
    if skip::daemon_binary()?.is_none() {
        return Ok(());
    }
    if act("alone", &[mechanism], true)? == 0 {
        skip::skip(&format!("selections cannot be seen by {} here", mechanism.0));
    }
    Ok(())
}

#[test]
fn the_tracepoint_counts_what_every_member_got() -> Result<()> {
    alone(MECHANISMS[0])
}

#[test]
fn the_entries_of_functions_count_what_every_member_got() -> Result<()> {
    alone(MECHANISMS[1])
}

#[test]
fn probes_count_what_every_member_got() -> Result<()> {
    alone(MECHANISMS[2])
}

#[test]
fn all_mechanisms_side_by_side_count_the_same() -> Result<()> {
    if skip::daemon_binary()?.is_none() {
        return Ok(());
    }
    ensure!(act("together", &MECHANISMS, false)? > 0, "selections are seen by no mechanism at all");
    Ok(())
}
