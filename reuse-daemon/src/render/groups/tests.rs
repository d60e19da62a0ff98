//! Screens as people see them, at several widths.

use std::time::Duration;

use reuse_model::report::MemberWindowReport;
use serde_json::{Value, json};

use super::*;
use crate::render::width::columns;

fn owner(service: &str, pid: usize) -> Value {
    json!({
        "pid": pid, "comm": "srv", "executable": "srv", "uid": 0, "user": "root", "service": service,
        "unit": null, "container": null, "pod": null, "fds": [3],
    })
}

/// A UDP group at 0.0.0.0:5300 whose members have these selections, with the fields that `set` names as it says.
fn group(selections: &[u64], set: Value) -> GroupReport {
    let member = |(slot, count): (usize, &u64)| {
        json!({
            "member": slot, "cookie": 1, "inode": 100 + slot, "owners": [owner("dns.service", 4_000 + slot)],
            "selections": count, "drops": 0, "queue": 0, "queue_limit": 212_992,
        })
    };
    let members: Vec<_> = selections.iter().enumerate().map(member).collect();
    let mut group = json!({
        "protocol": "udp", "address": "0.0.0.0", "port": 5300, "family": "ipv4", "device": null, "v6only": false,
        "uid": 0, "netns": 1, "netns_name": "host", "selector": "hash", "members": members,
        "expected_share": 1.0 / selections.len().max(1) as f64, "flows": 4_812, "p_value": 0.43, "verdict": "even",
    });
    if let (Some(group), Value::Object(set)) = (group.as_object_mut(), set) {
        group.extend(set);
    }
    serde_json::from_value(group).expect("a group")
}

fn style(width: usize) -> Style {
    Style { width, colored: false, glyphs: Glyphs::Ascii, all: false }
}

fn shown(groups: &[GroupReport], width: usize) -> String {
    screen(groups, None, None, style(width))
}

fn four() -> GroupReport {
    group(&[310, 290, 1_205, 299], json!({"verdict": "uneven", "p_value": 3e-9}))
}

#[test]
fn a_group_at_40_columns() {
    assert_eq!(
        shown(&[four()], 40),
        " # OWNER         |=even   SELECTED SHARE\n\
         udp 0.0.0.0:5300: 4 members of\n    \
             dns.service, uid 0, netns host,\n    \
             chosen by the hash\n  \
           uneven, and neither chance nor the\n    \
             group explains it: p = 3e-9 over\n    \
             4,812 flows, 25.0% each would be\n    \
             even\n \
          0 dns.se~[4000] ## |          310 14.7%\n \
          1 dns.se~[4001] ## |          290 13.8%\n \
          2 dns.se~[4002] ###|####    1,205 57.3%\n \
          3 dns.se~[4003] ## |          299 14.2%\n"
    );
}

#[test]
fn a_group_at_80_columns() {
    assert_eq!(
        shown(&[four()], 80),
        "  #  OWNER              | = even share            SELECTED  SHARE   QUEUE  DROPS\n\
         udp 0.0.0.0:5300: 4 members of dns.service, uid 0, netns host, chosen by the\n    \
             hash\n  \
           uneven, and neither chance nor the group explains it: p = 3e-9 over 4,812\n    \
             flows, 25.0% each would be even\n  \
           0  dns.service[4000]  ######    |                    310  14.7%  0/208K      0\n  \
           1  dns.service[4001]  ######    |                    290  13.8%  0/208K      0\n  \
           2  dns.service[4002]  ##########|#############     1,205  57.3%  0/208K      0\n  \
           3  dns.service[4003]  ######    |                    299  14.2%  0/208K      0\n"
    );
}

#[test]
fn a_group_at_120_columns() {
    let bar = |filled: &str, rest: usize| format!("{filled}{}", " ".repeat(rest));
    let text = shown(&[four()], 120);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[1], "udp 0.0.0.0:5300: 4 members of dns.service, uid 0, netns host, chosen by the hash");
    let even = bar("###############           |", 33);
    assert_eq!(lines[3], format!("  0  dns.service[4000]  {even}       310  14.7%  0/208K      0"));
    let busy = format!("{}|{}", "#".repeat(26), "#".repeat(33));
    assert_eq!(lines[5], format!("  2  dns.service[4002]  {busy}     1,205  57.3%  0/208K      0"));
}

#[test]
fn members_that_take_nothing_or_should_be_gone_are_named() {
    let mut four = four();
    for member in &mut four.members {
        member.stalled = member.member == 2;
        member.older_generation = member.member < 2;
    }
    let text = shown(&[four.clone()], 120);
    assert!(text.contains("\n  stalled: member 2, whose queue is full"), "{text}");
    assert!(text.contains("\n  of an earlier generation of the service: member 0, 1\n"), "{text}");

    four.members[1].window = Some(MemberWindowReport { selections: Some(1), flows: None, drops: 0 });
    let text = shown(&[four], 120);
    assert!(text.contains("generation of the service, still fed: member 0, 1\n"), "{text}");

    let mut many = group(&[1; 20], json!({}));
    many.members.iter_mut().for_each(|member| member.stalled = true);
    let text = shown(&[many], 120);
    assert!(text.contains("stalled: member 0, 1, 2, 3, 4, 5, 6, 7 and 12 more, whose"), "{text}");
}

#[test]
fn the_busiest_group_comes_first() {
    let quiet = group(&[1, 0], json!({"port": 1, "flows": 1, "p_value": null, "verdict": null}));
    let text = shown(&[quiet, four()], 120);
    let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle} in {text}"));
    assert!(at("0.0.0.0:5300") < at("0.0.0.0:1:"), "{text}");
    assert!(text.contains("  1 flow over 2 members say little, 10 are needed\n"), "{text}");
}

#[test]
fn of_many_members_the_top_and_the_bottom_have_lines_unless_all_are_wanted() {
    let counts: Vec<u64> = (0..1_024).map(|slot| if slot == 700 { 9_000 } else { 100 + slot % 7 }).collect();
    let crowd = group(&counts, json!({}));
    let text = shown(std::slice::from_ref(&crowd), 100);
    assert_eq!(text.lines().count(), 1 + 2 + 6 + 1 + 4, "{text}");
    let first = text.lines().nth(3).expect("a member");
    assert!(first.trim_start().starts_with("700  dns.service[4700]") && first.contains("9,000"), "{text}");
    assert!(text.contains("\n   ... 1,014 more: 0.087% to 0.093% each, together 91.3%\n"), "{text}");
    let every = screen(&[crowd], None, None, Style { all: true, ..style(100) });
    assert_eq!(every.lines().count(), 1 + 2 + 1_024);
}

#[test]
fn without_counts_there_are_members_and_no_verdict() {
    let mut alone = four();
    for member in &mut alone.members {
        member.selections = None;
    }
    let text = shown(&[alone], 80);
    assert_eq!(text.lines().next(), Some("  #  OWNER               QUEUE  DROPS"), "{text}");
    assert!(!text.contains("uneven") && !text.contains('%'), "{text}");
}

#[test]
fn a_group_that_got_nothing_has_no_verdict_but_says_so() {
    let window = "2026-12-01T05:00:00.000000Z";
    // Flows of datagrams are null before the first: nothing was told apart yet.
    let idle = json!({"flows": null, "p_value": null, "verdict": null, "window_since": window});
    for members in [&[0, 0, 0][..], &[0]] {
        let text = shown(&[group(members, idle.clone())], 80);
        assert!(text.contains("\n  no traffic seen yet\n"), "{text}");
    }
    let steered = json!({"selector": "ebpf", "flows": 0, "p_value": null, "verdict": "uneven_by_selector"});
    let text = shown(&[group(&[0, 0], steered)], 80);
    assert!(text.contains("\n  no traffic seen yet\n") && !text.contains("uneven"), "{text}");

    let text = shown(&[group(&[7], idle.clone())], 80);
    assert!(text.contains("\n  one member gets everything\n"), "{text}");
    let text = shown(&[group(&[7, 0], idle.clone())], 80);
    assert!(
        text.contains("\n  flows are not told apart, and packets alone say nothing for sure\n"),
        "{text}"
    );
    let mut changed = idle;
    changed["window_since"] = Value::Null;
    let text = shown(&[group(&[7, 0], changed)], 80);
    assert!(text.contains("\n  the members have just changed, and flows are counted anew\n"), "{text}");
}

#[test]
fn rates_are_of_the_time_between_two_looks() {
    let before = group(&[100, 100], json!({}));
    let after = group(&[400, 200], json!({}));
    let rates = Rates::between(&[before], std::slice::from_ref(&after), Duration::from_secs(2));
    assert!((rates.total() - 200.0).abs() < 1e-9);
    let text = screen(&[after], Some(&rates), None, style(100));
    let of =
        |line: usize| -> Vec<&str> { text.lines().nth(line).expect("a line").split_whitespace().collect() };
    assert_eq!(of(0)[6..], ["SELECTED", "SHARE", "RATE", "NOW", "QUEUE", "DROPS"], "{text}");
    let ends_with = |line: usize, wanted: &[&str]| assert!(of(line).ends_with(wanted), "{wanted:?}: {text}");
    ends_with(3, &["400", "66.7%", "150/s", "75.0%", "0/208K", "0"]);
    ends_with(4, &["200", "33.3%", "50/s", "25.0%", "0/208K", "0"]);
}

fn tested(even: bool, p_value: f64) -> TestGroupReport {
    serde_json::from_value(json!({
        "protocol": "udp", "family": "ipv4", "address": "127.0.0.1", "port": 4000, "match": 4_812, "mismatch": 0,
        "lost": 0, "members": [], "flows": 100, "p_value": null, "experiment": null, "mismatches": [],
        "evenness": {"even": even, "p_value": p_value, "flows": 4_812},
    }))
    .expect("a test group")
}

#[test]
fn the_kernel_is_told_from_the_application() {
    assert_eq!(
        screen(&[], None, Some(&[tested(true, 0.43)]), style(120)),
        "This kernel spreads its test flows evenly (p = 0.43 over 4,812 flows), so an uneven group is the application's or its\n\
         selector's doing.\n"
    );
    let uneven = sentence(&[tested(true, 0.43), tested(false, 1e-30)]).expect("known");
    assert!(uneven.starts_with("This kernel does not spread its test flows evenly"), "{uneven}");
    assert_eq!(sentence(&[]), None);
}

#[test]
fn a_watch_that_is_too_long_for_its_terminal_says_so() {
    let crowd = group(&[5; 16], json!({}));
    let body = shown(std::slice::from_ref(&crowd), 80);
    let text = watched(&[crowd], None, Some("it has\u{1b}[2J stopped"), &body, 10, style(80));
    assert_eq!(text.lines().count(), 10, "{text}");
    assert!(
        text.starts_with("1 group, 16 members; q ends\nnot as of now, trying again: it has\\x1b[2J"),
        "{text}"
    );
    assert!(text.ends_with("more lines: make the terminal larger, or choose by --port\n"), "{text}");
}

#[test]
fn no_line_is_wider_than_the_terminal_whatever_the_names() {
    let names = [
        "dns.service",
        "日本語サービス名称とても長い",
        "a\u{202e}\u{200b}b\u{1b}[2Jc",
        "x".repeat(300).leak(),
    ];
    for name in names {
        for members in [0, 1, 8, 1_024] {
            let mut one =
                group(&vec![u64::MAX / 2_048; members], json!({"device": name, "netns_name": name}));
            for member in &mut one.members {
                (member.queue, member.queue_limit, member.drops) = (u64::MAX, u64::MAX, u64::MAX / 2_048);
                for owner in &mut member.owners {
                    owner.service = name.into();
                }
            }
            let rates = Rates::between(&[], std::slice::from_ref(&one), Duration::from_millis(1));
            for width in [24, 40, 55, 80, 120, 200] {
                for glyphs in [Glyphs::Ascii, Glyphs::Blocks] {
                    let style = Style { glyphs, ..style(width) };
                    let text =
                        screen(std::slice::from_ref(&one), Some(&rates), Some(&[tested(true, 0.5)]), style);
                    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
                    for line in text.lines() {
                        assert!(columns(line) <= width, "{} columns of {width}: {line:?}", columns(line));
                    }
                }
            }
        }
    }
}
