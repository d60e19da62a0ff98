//! What is said of a group as a whole: what it is, and whether its traffic is even.

use std::{collections::BTreeSet, fmt::Write};

use reuse_model::{
    distribution::{CHANCE_MIN, FLOWS_PER_MEMBER_MIN},
    report::{GroupReport, MemberReport},
};

use super::{
    BOLD, GREEN, RED, Style, YELLOW,
    numbers::{grouped, percent, probability},
    painted,
};
use crate::render::{event::endpoint, plain::plain, width};

/// Services that are named; of more their number.
const SERVICES: usize = 3;
/// How far the lines after the first are indented.
const INDENT: usize = 4;

/// Appends the lines of a group before its members.
pub(super) fn write(group: &GroupReport, style: Style, out: &mut String) {
    let place = width::fit(&format!("{}:", place(group)), style.width).into_owned();
    out.push_str(&painted(&place, BOLD, style));
    width::wrap(&description(group), style.width, INDENT, width::columns(&place), out);
    out.push('\n');
    let remarks = verdict(group).into_iter().chain(stalled(group)).chain(older_generation(group));
    for (remark, color) in remarks {
        let mut lines = " ".to_owned();
        width::wrap(&remark, style.width, INDENT, 1, &mut lines);
        out.extend([&painted(&lines, color, style), "\n"]);
    }
}

fn stalled(group: &GroupReport) -> Option<(String, &'static str)> {
    let members = named(group, |member| member.stalled)?;
    Some((format!("stalled: {members}, whose queue is full and who takes nothing from it"), RED))
}

fn older_generation(group: &GroupReport) -> Option<(String, &'static str)> {
    let members = named(group, |member| member.older_generation)?;
    let is_fed = |member: &&MemberReport| {
        member.older_generation && member.window.as_ref().and_then(|window| window.selections) > Some(0)
    };
    let fed = if group.members.iter().any(|member| is_fed(&member)) { ", still fed" } else { "" };
    Some((format!("of an earlier generation of the service{fed}: {members}"), YELLOW))
}

/// Those members by their numbers, not all of many.
fn named(group: &GroupReport, which: impl Fn(&MemberReport) -> bool) -> Option<String> {
    const NAMED: usize = 8;
    let numbers: Vec<_> =
        group.members.iter().filter(|member| which(member)).map(|member| member.member).collect();
    let first: Vec<_> = numbers.iter().take(NAMED).map(u32::to_string).collect();
    let more = numbers.len().saturating_sub(NAMED);
    let and_more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!numbers.is_empty()).then(|| format!("member {}{and_more}", first.join(", ")))
}

fn place(group: &GroupReport) -> String {
    let mut text = format!("{} {}", group.protocol.as_str(), endpoint(group.address, group.port));
    if let Some(device) = &group.device {
        let _ = write!(text, "%{}", plain(device));
    }
    text
}

fn description(group: &GroupReport) -> String {
    let members = group.members.len();
    let mut text = format!(
        "{} {} of {}",
        grouped(members as u64),
        if members == 1 { "member" } else { "members" },
        services(group)
    );
    let _ = write!(text, ", uid {}, netns {}", group.uid, plain(&group.netns_name));
    if group.v6only && group.address.is_unspecified() {
        text.push_str(", IPv6 only");
    }
    if let Some(selector) = &group.selector {
        let _ = write!(text, ", chosen by {}", selector_words(selector));
    }
    text
}

fn services(group: &GroupReport) -> String {
    let owners = group.members.iter().flat_map(|member| &member.owners);
    let names: BTreeSet<_> = owners.map(|owner| &*owner.service).collect();
    if names.is_empty() {
        return "an unknown process".to_owned();
    }
    let mut text: String = names.iter().take(SERVICES).map(|name| plain(name)).collect::<Vec<_>>().join(", ");
    if names.len() > SERVICES {
        let _ = write!(text, " and {} more", names.len() - SERVICES);
    }
    text
}

fn selector_words(selector: &str) -> String {
    match selector {
        "hash" => "the hash".to_owned(),
        "cbpf" => "a classic BPF program".to_owned(),
        "ebpf" => "an eBPF program".to_owned(),
        "incoming_cpu" => "the receiving CPU".to_owned(),
        other => plain(other).into_owned(),
    }
}

/// A sentence and its colour; `None` where selections are not counted.
fn verdict(group: &GroupReport) -> Option<(String, &'static str)> {
    let selections: Vec<_> = group.members.iter().filter_map(|member| member.selections).collect();
    if selections.is_empty() {
        return None;
    }
    if selections.iter().all(|count| *count == 0) {
        return Some(("no traffic seen yet".to_owned(), ""));
    }
    if group.members.len() < 2 {
        return Some(("one member gets everything".to_owned(), ""));
    }
    let (words, color) = match group.verdict.as_deref() {
        Some("even") => ("even".to_owned(), GREEN),
        Some("uneven_by_chance") => ("uneven by chance, as a fair choice is at times".to_owned(), GREEN),
        Some("uneven_by_selector") => {
            ("uneven by its selector, which picks and not the hash".to_owned(), YELLOW)
        }
        Some("uneven_by_connected") => ("uneven because of a connected member".to_owned(), YELLOW),
        Some("few_peers") => ("too few flows to tell".to_owned(), ""),
        Some("uneven") => ("uneven, and neither chance nor the group explains it".to_owned(), RED),
        Some(other) => (plain(&other.replace('_', " ")).into_owned(), YELLOW),
        None => so_far(group),
    };
    let text = match (words.is_empty(), evidence(group)) {
        (true, evidence) => evidence,
        (false, evidence) => format!("{words}: {evidence}"),
    };
    Some((text, color))
}

/// What the running window says while there is no verdict: that needs two closed ones.
fn so_far(group: &GroupReport) -> (String, &'static str) {
    match group.p_value {
        Some(p) if p < CHANCE_MIN => ("so far more uneven than chance makes it".to_owned(), YELLOW),
        Some(_) => ("so far as even as chance makes it".to_owned(), ""),
        None => (String::new(), ""),
    }
}

/// How many flows the verdict stands on: the running window's, or where it is too young the last one's.
fn evidence(group: &GroupReport) -> String {
    let members = group.members.len() as u64;
    let Some(flows) = group.flows else {
        return if group.window_since.is_none() {
            "the members have just changed, and flows are counted anew".to_owned()
        } else {
            "flows are not told apart, and packets alone say nothing for sure".to_owned()
        };
    };
    let share = group.expected_share.map(|share| format!(", {} each would be even", percent(share)));
    let share = share.unwrap_or_default();
    if let Some(p) = group.p_value {
        return format!("p {} over {}{share}", probability(p), flow_count(flows));
    }
    let last = group.closed_windows.last().filter(|window| window.members == group.members.len());
    if let Some((p, flows)) = last.and_then(|window| window.p_value.zip(window.flows)) {
        return format!("p {} over {} in the last window{share}", probability(p), flow_count(flows));
    }
    let needed = grouped(members * FLOWS_PER_MEMBER_MIN);
    format!("{} over {} members say little, {needed} are needed", flow_count(flows), grouped(members))
}

fn flow_count(flows: u64) -> String {
    format!("{} {}", grouped(flows), if flows == 1 { "flow" } else { "flows" })
}
