//! Scrapes of small models, line by line.

mod world;

use std::collections::HashSet;

use reuse_model::{
    endpoint::{Endpoint, Family, Protocol, Transport},
    event::{Event, Moment, Phase},
    group::WINDOW,
    inventory::PortKey,
    signal::{Case, Kind, Severity},
    socket::{Cookie, Inode, NetNs, SocketFacts},
    test_group::Probe,
};

use super::*;
use world::{World, call, facts, refused};

/// The samples whose name begins with `prefix`.
fn samples<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(prefix)).collect()
}

fn metrics(max_series: usize) -> Metrics {
    Metrics::new(max_series).expect("fixed descriptions")
}

#[test]
fn known_label_sets_start_at_0() {
    let text = World::new().scrape(&mut metrics(10_000));
    let attempts = samples(&text, "reuse_bind_attempts_total");
    assert_eq!(attempts.len(), 12, "{attempts:#?}");
    assert!(attempts.iter().all(|line| line.ends_with(" 0")));
    assert!(
        attempts
            .contains(&r#"reuse_bind_attempts_total{family="ipv6",protocol="mptcp",result="EADDRINUSE"} 0"#)
    );
    assert_eq!(samples(&text, "reuse_listen_attempts_total").len(), 8);
    assert!(!text.contains(r#"listen_attempts_total{family="ipv4",protocol="udp""#), "no one listens on UDP");
    for line in [
        r#"reuse_bind_refusals_total{protocol="tcp",phase="bind",errno="EADDRINUSE",rule="holder_is_listening"} 0"#,
        r#"reuse_daemon_explained_total{result="exact"} 0"#,
        r#"reuse_daemon_reconciliation_corrections_total{kind="missed_close"} 0"#,
        r#"reuse_daemon_series_overflow_total{family="reuse_group_members"} 0"#,
        r#"reuse_sockets{protocol="tcp",family="ipv4",state="listen"} 0"#,
        r#"reuse_daemon_event_delay_seconds_bucket{le="0.00005"} 0"#,
        "reuse_daemon_event_delay_seconds_count 0",
    ] {
        assert!(text.lines().any(|have| have == line), "no line {line}");
    }
}

#[test]
fn every_family_is_described_once_and_whole() {
    let mut world = World::new();
    world.member(1, 80, Protocol::Tcp, 1);
    world.call(refused(80));
    let text = world.scrape(&mut metrics(10_000));
    let mut seen = HashSet::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            (current, _) = described.split_once(' ').expect("a type");
            assert!(seen.insert(current), "{current} twice");
            assert!(text.contains(&format!("# HELP {current} ")), "{current} has no help");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(current), "{line} below {current}");
        }
    }
}

#[test]
fn calls_are_counted_by_what_they_returned() {
    let mut world = World::new();
    world.call(call(Phase::Bind, 0, facts(1, 80, Protocol::Tcp)));
    world.call(refused(80));
    let text = world.scrape(&mut metrics(10_000));
    for line in [
        r#"reuse_bind_attempts_total{family="ipv4",protocol="tcp",result="success"} 1"#,
        r#"reuse_bind_attempts_total{family="ipv4",protocol="tcp",result="EADDRINUSE"} 1"#,
        r#"reuse_bind_refusals_total{protocol="tcp",phase="bind",errno="EADDRINUSE",rule="holder_lacks_reuseport"} 1"#,
        r#"reuse_port_conflicts_total{protocol="tcp",address="127.0.0.1",port="80",rule="holder_lacks_reuseport",contender="web-7.service",holder="unknown"} 1"#,
        r#"reuse_daemon_explained_total{result="exact"} 1"#,
        r#"reuse_sockets{protocol="tcp",family="ipv4",state="bound"} 1"#,
    ] {
        assert!(text.lines().any(|have| have == line), "no line {line} in {text}");
    }
    let last = samples(&text, "reuse_port_conflict_last_timestamp_seconds{");
    let (_, value) = last[0].rsplit_once(' ').expect("a value");
    let expected = world.clock.unix_seconds(Moment(1_000));
    assert!((value.parse::<f64>().expect("a number") - expected).abs() < 1e-3, "{value} is not {expected}");
}

#[test]
fn conflicts_beyond_the_budget_fold_and_say_so() {
    let mut world = World::new();
    (1..=5).for_each(|port| world.call(refused(port)));
    let text = world.scrape(&mut metrics(10_000));
    assert_eq!(samples(&text, "reuse_port_conflicts_total{").len(), 3);
    let other = r#"reuse_port_conflicts_total{protocol="tcp",address="other",port="other",rule="holder_lacks_reuseport",contender="other",holder="other"} 3"#;
    assert!(text.contains(other), "{text}");
    assert!(text.contains(r#"reuse_daemon_series_overflow_total{family="reuse_port_conflicts_total"} 3"#));
}

#[test]
fn each_member_has_its_series() {
    let mut world = World::new();
    world.member(1, 80, Protocol::Tcp, 40);
    world.member(2, 80, Protocol::Mptcp, 2);
    world.member(3, 53, Protocol::Udp, 5);
    let text = world.scrape(&mut metrics(10_000));
    let tcp =
        r#"protocol="tcp",address="127.0.0.1",port="80",device="",v6only="false",uid="33",netns="host""#;
    let udp =
        r#"protocol="udp",address="127.0.0.1",port="53",device="",v6only="false",uid="33",netns="host""#;
    let expected = [
        format!("reuse_group_members{{{tcp}}} 2"),
        format!("reuse_group_members{{{udp}}} 1"),
        // Since the second joined: no flow to the first, two to the second.
        format!("reuse_group_imbalance_ratio{{{tcp}}} 2"),
        format!("reuse_group_fairness_index{{{tcp}}} 0.5"),
        format!("reuse_group_info{{{udp},services=\"web-7.service\",selector=\"\"}} 1"),
        format!("reuse_group_info{{{tcp},services=\"web-7.service\",selector=\"\"}} 1"),
        format!("reuse_group_selections_total{{{tcp},member=\"0\"}} 40"),
        format!("reuse_group_selections_total{{{tcp},member=\"1\"}} 2"),
        format!("reuse_group_selections_total{{{udp},member=\"0\"}} 5"),
        format!("reuse_group_drops_total{{{tcp},member=\"0\"}} 2"),
        format!("reuse_group_drops_total{{{tcp},member=\"1\"}} 2"),
        format!("reuse_group_drops_total{{{udp},member=\"0\"}} 2"),
        format!("reuse_group_accept_queue_length{{{tcp},member=\"0\"}} 3"),
        format!("reuse_group_accept_queue_length{{{tcp},member=\"1\"}} 3"),
        format!("reuse_group_accept_queue_limit{{{tcp},member=\"0\"}} 128"),
        format!("reuse_group_accept_queue_limit{{{tcp},member=\"1\"}} 128"),
        format!("reuse_group_receive_queue_bytes{{{udp},member=\"0\"}} 3"),
        format!("reuse_group_member_info{{{tcp},member=\"0\",service=\"web-7.service\"}} 1"),
        format!("reuse_group_member_info{{{tcp},member=\"1\",service=\"web-7.service\"}} 1"),
        format!("reuse_group_member_info{{{udp},member=\"0\",service=\"web-7.service\"}} 1"),
    ];
    assert_eq!(samples(&text, "reuse_group_"), expected);
}

#[test]
fn a_group_with_enough_flows_has_a_p_value_and_after_two_windows_a_verdict() {
    let mut world = World::new();
    world.member(1, 80, Protocol::Tcp, 0);
    world.member(2, 80, Protocol::Tcp, 0);
    let key =
        r#"protocol="tcp",address="127.0.0.1",port="80",device="",v6only="false",uid="33",netns="host""#;
    let mut metrics = metrics(10_000);
    world.selected_at(3, &[(1, 5), (2, 4)]);
    let text = world.scrape(&mut metrics);
    assert!(samples(&text, "reuse_group_uniformity").is_empty(), "nine flows are too few for two members");
    for window in 1..=2 {
        assert!(samples(&world.scrape(&mut metrics), "reuse_group_verdict").is_empty());
        world.selected_at(window * WINDOW + 3, &[(1, window * 1000), (2, 4)]);
    }
    world.selected_at(2 * WINDOW + 4, &[(1, 2060), (2, 44)]);
    let text = world.scrape(&mut metrics);
    for line in [
        format!("reuse_group_uniformity_flows{{{key}}} 100"),
        format!("reuse_group_imbalance_ratio{{{key}}} 1.2"),
        format!("reuse_group_verdict{{{key},verdict=\"uneven\"}} 1"),
        format!("reuse_group_info{{{key},services=\"web-7.service\",selector=\"\"}} 1"),
    ] {
        assert!(text.lines().any(|have| have == line), "no line {line} in {text}");
    }
    let p_value = samples(&text, "reuse_group_uniformity_p_value{")[0].rsplit_once(' ').expect("a value").1;
    // 60 and 40 of 100: the statistic is 4 with one degree of freedom.
    assert!((p_value.parse::<f64>().expect("a number") - 0.0455).abs() < 1e-4, "{p_value}");
}

#[test]
fn a_member_that_left_keeps_its_counters_alone() {
    let mut world = World::new();
    world.member(1, 80, Protocol::Tcp, 40);
    world.event(&Event::Close { inode: Inode(1), cookie: Cookie(1), drops: 0, at: Moment(2_000) });
    let text = world.scrape(&mut metrics(10_000));
    let families: Vec<_> =
        samples(&text, "reuse_group_").iter().map(|line| line.split('{').next().expect("a name")).collect();
    assert_eq!(families, ["reuse_group_members", "reuse_group_selections_total", "reuse_group_drops_total"]);
    world.groups.prune(Moment(u64::MAX));
    assert!(samples(&world.scrape(&mut metrics(10_000)), "reuse_group_").is_empty(), "stale series go");
}

#[test]
fn groups_of_nameless_namespaces_are_one_with_their_members_numbered_through() {
    let mut world = World::new();
    let mut metrics = metrics(10_000);
    for (inode, netns) in [(1, 8), (2, 9), (3, 8)] {
        let socket = SocketFacts { netns: NetNs(netns), ..facts(inode, 80, Protocol::Tcp) };
        world.call(call(Phase::Listen, 0, socket));
        world.selected(&[(inode, inode * 10)]);
        world.scrape(&mut metrics);
    }
    let text = world.scrape(&mut metrics);
    assert_eq!(samples(&text, "reuse_group_members{").len(), 1);
    assert!(samples(&text, "reuse_group_members{")[0].ends_with(" 3"));
    let numbered: Vec<_> = samples(&text, "reuse_group_selections_total{")
        .iter()
        .map(|line| line.split_once("member=").expect("a member").1)
        .collect();
    assert_eq!(numbered, ["\"0\"} 10", "\"2\"} 30", "\"1\"} 20"], "a number once given stays");
}

/// Most series that the families other than those of groups have in an empty world.
fn fixed_series() -> usize {
    World::new().scrape(&mut metrics(10_000)).lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn groups_beyond_the_budget_fold_and_never_go_back() {
    let mut world = World::new();
    for port in 1..=20 {
        world.member(u64::from(port), port, Protocol::Tcp, 10);
    }
    // Room for two groups of one member, each with the row its further members would fold into.
    let room = 2 * (7 + 5 + 5) + 2 * 6 + RESERVE;
    let mut metrics = metrics(fixed_series() + room);
    let text = world.scrape(&mut metrics);
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= fixed_series() + room, "{series} series");
    let own: Vec<_> = samples(&text, "reuse_group_selections_total{");
    assert_eq!(own.len(), 3, "{own:#?}");
    let other = r#"reuse_group_selections_total{protocol="tcp",address="other",port="other",device="other",v6only="other",uid="other",netns="other",member="other"}"#;
    assert!(text.contains(&format!("{other} 180")), "{text}");
    assert!(
        text.contains(r#"reuse_daemon_series_overflow_total{family="reuse_group_members"} 18"#),
        "{text}"
    );

    world.event(&Event::Close { inode: Inode(20), cookie: Cookie(20), drops: 0, at: Moment(2_000) });
    world.groups.prune(Moment(u64::MAX));
    world.selected(&[(19, 11)]);
    let text = world.scrape(&mut metrics);
    assert!(text.contains(&format!("{other} 181")), "what a folded group counted stays in the sum: {text}");

    for inode in 1..=2 {
        world.event(&Event::Close {
            inode: Inode(inode),
            cookie: Cookie(inode),
            drops: 0,
            at: Moment(3_000),
        });
    }
    world.groups.prune(Moment(u64::MAX));
    world.scrape(&mut metrics);
    world.member(50, 50, Protocol::Tcp, 7);
    let text = world.scrape(&mut metrics);
    assert!(
        text.contains(r#"port="50",device="",v6only="false",uid="33",netns="host",member="0"} 7"#),
        "{text}"
    );
}

#[test]
fn members_beyond_the_budget_fold_within_their_group() {
    let mut world = World::new();
    (1..=20).for_each(|inode| world.member(inode, 80, Protocol::Tcp, 10));
    let mut metrics = metrics(fixed_series() + 7 + 5 + 2 * 5 + 2 * 6 + RESERVE);
    let text = world.scrape(&mut metrics);
    let selections = samples(&text, "reuse_group_selections_total{");
    assert_eq!(selections.len(), 3, "{selections:#?}");
    assert!(selections[2].ends_with(r#"netns="host",member="other"} 180"#), "{selections:#?}");
    assert!(samples(&text, "reuse_group_members{")[0].ends_with(" 20"));
    assert_eq!(samples(&text, "reuse_group_member_info{").len(), 2);
}

#[test]
fn the_kernel_side_is_told_as_it_is() {
    let mut world = World::new();
    world.health = KernelHealth {
        tiers: vec![Tier { tier: "selections", mechanism: "tp_btf".into(), active: false, remedy: None }],
        blind_spots: vec![BlindSpot { what: "io_uring", blind: true }],
        programs: vec![
            Program { name: "bind".into(), hook: "syscalls:sys_exit_bind".into(), attached: true, run: None },
            Program {
                name: "listen".into(),
                hook: "syscalls:sys_exit_listen".into(),
                attached: false,
                run: Some(RunStats { nanoseconds: 1_500_000_000, runs: 3 }),
            },
        ],
        maps: vec![MapFill { map: "SELECTIONS", entries: 2, capacity: 10 }],
        received: vec![("bind", 4)],
        lost: vec![("ring_call", 0)],
        last_event: None,
    };
    let text = world.scrape(&mut metrics(10_000));
    let lines: Vec<_> = text
        .lines()
        .filter(|line| {
            line.starts_with("reuse_daemon_") && !line.contains("_delay_") && !line.contains("_total{kind")
        })
        .filter(|line| {
            !["build_info", "overflow", "explained", "config_last"].iter().any(|other| line.contains(other))
        })
        .collect();
    assert_eq!(
        lines,
        [
            r#"reuse_daemon_tier_active{tier="selections",mechanism="tp_btf"} 0"#,
            r#"reuse_daemon_blind_spot{what="io_uring"} 1"#,
            r#"reuse_daemon_ebpf_program_attached{bpf_program="bind",hook="syscalls:sys_exit_bind"} 1"#,
            r#"reuse_daemon_ebpf_program_attached{bpf_program="listen",hook="syscalls:sys_exit_listen"} 0"#,
            r#"reuse_daemon_ebpf_program_run_seconds_total{bpf_program="listen"} 1.5"#,
            r#"reuse_daemon_ebpf_program_runs_total{bpf_program="listen"} 3"#,
            r#"reuse_daemon_events_received_total{type="bind"} 4"#,
            r#"reuse_daemon_events_lost_total{stage="ring_call"} 0"#,
            r#"reuse_daemon_map_entries{map="SELECTIONS"} 2"#,
            r#"reuse_daemon_map_capacity{map="SELECTIONS"} 10"#,
        ]
    );
}

fn case(kind: Kind, severity: Severity, port: u16, netns: u32) -> Case {
    Case {
        kind,
        severity,
        port: PortKey { netns: NetNs(netns), transport: Transport::Udp, port },
        protocol: Protocol::Udp,
        endpoint: Endpoint { address: [0, 0, 0, 0].into(), port },
        parties: Vec::new(),
        since: Moment(1),
        until: None,
        found: false,
        seen: String::new(),
    }
}

#[test]
fn signals_are_counted_from_0_and_shown_while_they_last() {
    let mut world = World::new();
    let mut metrics = metrics(10_000);
    let text = world.scrape(&mut metrics);
    assert!(samples(&text, "reuse_signal_active").is_empty(), "{text}");
    let totals = samples(&text, "reuse_signals_total");
    assert!(totals.iter().all(|line| line.ends_with(" 0")), "{totals:#?}");
    for kind in Kind::ALL {
        let begin = format!("reuse_signals_total{{signal=\"{}\",", kind.as_str());
        assert!(totals.iter().any(|line| line.starts_with(&begin)), "{begin}");
    }

    let (share, shadow) = (Kind::ForeignUidShare, Kind::FamilyShadow);
    world.signals = vec![
        case(share, Severity::Critical, 53, 1),
        case(shadow, Severity::Info, 53, 8),
        case(shadow, Severity::Info, 53, 9),
    ];
    world.raised = vec![
        ((share, Severity::Critical, Protocol::Udp), 2),
        ((shadow, Severity::Info, Protocol::Mptcp), 1),
        // As a policy has it.
        ((share, Severity::Info, Protocol::Udp), 3),
    ];
    let text = world.scrape(&mut metrics);
    assert_eq!(
        samples(&text, "reuse_signal_active"),
        [
            r#"reuse_signal_active{signal="family_shadow",severity="info",protocol="udp",address="0.0.0.0",port="53",netns="other"} 1"#,
            r#"reuse_signal_active{signal="foreign_uid_share",severity="critical",protocol="udp",address="0.0.0.0",port="53",netns="host"} 1"#,
        ]
    );
    let grown: Vec<_> =
        samples(&text, "reuse_signals_total").into_iter().filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(
        grown,
        [
            r#"reuse_signals_total{signal="family_shadow",severity="info",protocol="mptcp"} 1"#,
            r#"reuse_signals_total{signal="foreign_uid_share",severity="info",protocol="udp"} 3"#,
            r#"reuse_signals_total{signal="foreign_uid_share",severity="critical",protocol="udp"} 2"#,
        ]
    );

    world.signals.clear();
    let text = world.scrape(&mut metrics);
    assert!(samples(&text, "reuse_signal_active").is_empty(), "an end leaves no series: {text}");
}

#[test]
fn active_signals_are_never_folded_and_leave_groups_the_rest() {
    let mut world = World::new();
    world.member(1, 80, Protocol::Tcp, 10);
    world.signals = (1..=2000).map(|port| case(Kind::ForeignUidShare, Severity::Critical, port, 1)).collect();
    let text = world.scrape(&mut metrics(1_000));
    assert_eq!(samples(&text, "reuse_signal_active").len(), 2000);
    assert!(samples(&text, "reuse_group_members{")[0].contains(r#"port="other""#), "{text}");
}

#[test]
fn a_reload_that_failed_is_told() {
    let mut world = World::new();
    let reloaded = |world: &World| {
        let text = world.scrape(&mut metrics(10_000));
        samples(&text, "reuse_daemon_config_last_reload_successful").join("\n")
    };
    assert_eq!(reloaded(&world), "reuse_daemon_config_last_reload_successful 1");
    world.config_loaded = false;
    assert_eq!(reloaded(&world), "reuse_daemon_config_last_reload_successful 0");
}

#[test]
fn the_test_group_tells_its_three_answers() {
    let mut world = World::new();
    let group = TestGroup { transport: Transport::Udp, family: Family::Ipv6 };
    let local = Endpoint { address: std::net::Ipv6Addr::LOCALHOST.into(), port: 7 };
    world.test_groups.announce(group, local, 2);
    let probe = Probe {
        group,
        at: Moment(1),
        source_port: 40_000,
        members: 2,
        hash: Some(u32::MAX),
        delivered: Some(0),
        accepted: Some(0),
        took: Some(2_000_000),
    };
    world.test_groups.record(&probe);
    let mut metrics = metrics(10_000);
    metrics.observe_probe(group, Duration::from_millis(2));
    let text = world.scrape(&mut metrics);
    for line in [
        r#"reuse_test_group_probes_total{protocol="udp",family="ipv6",result="match"} 0"#,
        r#"reuse_test_group_probes_total{protocol="udp",family="ipv6",result="mismatch"} 1"#,
        r#"reuse_test_group_predicted_total{protocol="udp",family="ipv6",member="1"} 1"#,
        r#"reuse_test_group_delivered_total{protocol="udp",family="ipv6",member="0"} 1"#,
        r#"reuse_test_group_accepted_total{protocol="udp",family="ipv6",member="1"} 0"#,
        r#"reuse_test_group_probe_duration_seconds_bucket{family="ipv6",protocol="udp",le="0.0025"} 1"#,
    ] {
        assert!(text.lines().any(|have| have == line), "no line {line} in {text}");
    }
}
