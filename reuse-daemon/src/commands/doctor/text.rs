//! What `doctor` found, for people: a verdict, then a line for each thing, with its remedy below.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{ALL, Report, SOME, State, ephemeral::Listener};

pub(super) fn render(report: &Report, status: u8) -> String {
    let verdict = match status {
        ALL => "everything the daemon wants to see can be seen",
        SOME => "the daemon runs, but not everything can be seen",
        _ => "the daemon cannot run here",
    };
    let mut out = format!("Linux {} (lockdown: {}): {verdict}\n", report.kernel, report.lockdown);
    // A program that serves several tiers has its cost once.
    let mut told = BTreeSet::new();
    for finding in &report.doctor {
        let mark = match finding.state {
            State::Active => "ok     ",
            State::Off => "off    ",
            State::Missing => "MISSING",
        };
        out += &format!("  {mark} {:<16} {}", finding.check, finding.detail);
        if let Some(count) = finding.verified_instructions.filter(|_| told.insert(&finding.detail)) {
            out += &format!(" ({count} instructions verified)");
        }
        if let Some(remedy) = &finding.remedy {
            let word = if finding.state == State::Off { "to have it" } else { "remedy" };
            out += &format!("\n          {word}: {remedy}");
        }
        out.push('\n');
    }
    out += &advice(report.listeners_in_ephemeral_range.as_deref().unwrap_or_default());
    out
}

/// Listeners with the remedy of each namespace below its last.
fn advice(listeners: &[Listener]) -> String {
    if listeners.is_empty() {
        return String::new();
    }
    let mut out = "\nListeners on ports that the kernel also gives to connections: while one is down its port may be taken, and its \
                   next start is refused. (One that got its port from the kernel needs no remedy.)\n"
        .to_owned();
    for (place, listener) in listeners.iter().enumerate() {
        let Listener { netns, netns_name, port, protocol, address, service, remedy } = listener;
        let service = service.as_deref().unwrap_or("no process");
        out += &format!("  {protocol:<6} {:<22} {service}", SocketAddr::new(*address, *port).to_string());
        if &**netns_name != "host" {
            out += &format!(", namespace {netns_name} ({netns})");
        }
        out.push('\n');
        if listeners.get(place + 1).is_none_or(|next| next.netns != *netns) {
            out += &format!("          remedy: {remedy}\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::doctor::{Finding, json},
        kernel::plan::{Gap, Tier},
    };

    #[test]
    fn a_gap_shows_its_remedy_and_a_program_its_cost() {
        let program = Finding { verified_instructions: Some(43), ..Finding::good("bind", "sys_exit_bind") };
        let gap = Finding::bad("close", "no cgroup v2", "mount it");
        let off = Gap { tier: Tier::ImplicitSend, reason: "too dear".to_owned(), remedy: "ask for it" };
        let report = Report {
            schema: 1,
            kernel: "6.18".to_owned(),
            lockdown: "integrity",
            btf: None,
            doctor: vec![program, gap, Finding::off(&off), Finding::good("answers", "sys_exit_bind")],
            lacks: Vec::new(),
            listeners_in_ephemeral_range: None,
        };
        let shown = render(&report, SOME);
        assert!(shown.starts_with("Linux 6.18 (lockdown: integrity): the daemon runs, but"), "{shown}");
        assert!(shown.contains("sys_exit_bind (43 instructions verified)\n"), "{shown}");
        assert!(shown.contains("answers          sys_exit_bind\n"), "{shown}");
        assert!(
            shown.contains("MISSING close            no cgroup v2\n          remedy: mount it"),
            "{shown}"
        );
        assert!(
            shown.contains("off     implicit_sendto  too dear\n          to have it: ask for it"),
            "{shown}"
        );
        let json = json(&report);
        assert!(json.contains(r#""schema":1"#) && json.contains(r#""state":"missing""#), "{json}");
    }

    #[test]
    fn listeners_of_a_namespace_share_their_remedy() {
        let listener = |netns, port| Listener {
            netns,
            netns_name: if netns == 1 { "host".into() } else { "web".into() },
            port,
            protocol: "tcp",
            address: [0, 0, 0, 0].into(),
            service: (port != 40001).then(|| "api".into()),
            remedy: format!("reserve those of {netns}"),
        };
        let shown = advice(&[listener(1, 40000), listener(1, 40001), listener(2, 40000)]);
        let lines: Vec<_> = shown.lines().skip(2).map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "  tcp    0.0.0.0:40000          api",
                "  tcp    0.0.0.0:40001          no process",
                "          remedy: reserve those of 1",
                "  tcp    0.0.0.0:40000          api, namespace web (2)",
                "          remedy: reserve those of 2",
            ]
        );
        assert_eq!(advice(&[]), "");
    }
}
