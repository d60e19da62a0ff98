//! Answers to the questions of [`crate::query`], rendered from what the tracer knows at the moment.

use std::time::Duration;

use reuse_model::{
    inventory::Correction,
    report::{
        ActiveTier, AttachedProgram, BlindSpot, GroupList, GroupReport, Loss, SCHEMA, SocketList,
        SocketReport, StatusReport, TestGroupList, TestGroupReport, View,
    },
};
use serde::Serialize;

use super::metrics::{Metrics, Observed};
use crate::{
    config::TelemetryPath,
    query::{Answer, Content, Query},
    render::landing::Landing,
};

/// What an answer is rendered from.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The model and the kernel side
    pub observed: Observed<'a>,
    /// What is not done yet of what makes the daemon ready, in words; empty: it is ready
    pub waiting_for: &'a [String],
    /// Time since the daemon started
    pub uptime: Duration,
    /// Where the metrics are, for the landing page
    pub telemetry_path: &'a TelemetryPath,
}

/// Renders an answer, as seen over the network: without paths and command lines.
pub fn answer(query: Query, known: &Known<'_>, metrics: &mut Metrics) -> Answer {
    let Observed { groups, test_groups, context, .. } = known.observed;
    match query {
        Query::Metrics => Answer::new(Content::Metrics, metrics.scrape(&known.observed)),
        Query::Healthy => Answer::new(Content::Text, "healthy\n"),
        Query::Ready if known.waiting_for.is_empty() => Answer::new(Content::Text, "ready\n"),
        Query::Ready => {
            Answer::unavailable(format!("not ready: waiting for {}\n", known.waiting_for.join(", ")))
        }
        Query::Landing => {
            let landing = Landing { telemetry_path: known.telemetry_path, waiting_for: known.waiting_for };
            Answer::new(Content::Html, landing.html())
        }
        Query::Sockets => json(&sockets(&known.observed)),
        Query::Groups => {
            let mut live: Vec<_> = groups.iter().filter(|group| group.is_live()).collect();
            live.sort_unstable_by_key(|group| group.key());
            let counted = known.observed.selections_counted;
            let report = |group| GroupReport::new(group, counted, context, View::Network);
            json(&GroupList { schema: SCHEMA, groups: live.into_iter().map(report).collect() })
        }
        Query::TestGroup => {
            json(&TestGroupList { schema: SCHEMA, test_group: TestGroupReport::all(test_groups, context) })
        }
        Query::Status => json(&status(known)),
    }
}

/// Every socket, by port, then by what else tells sockets apart.
fn sockets(observed: &Observed<'_>) -> SocketList {
    let mut all: Vec<_> = observed.inventory.iter().collect();
    all.sort_unstable_by_key(|socket| {
        let facts = &socket.facts;
        (facts.local.port, facts.protocol, facts.netns, facts.local.address, facts.inode)
    });
    let report = |socket: &std::sync::Arc<_>| SocketReport::new(socket, observed.context, View::Network);
    SocketList { schema: SCHEMA, sockets: all.into_iter().map(report).collect() }
}

fn status(known: &Known<'_>) -> StatusReport {
    let Observed { inventory, groups, corrections, health, .. } = known.observed;
    let tiers = health.tiers.iter().map(|tier| ActiveTier {
        tier: tier.tier.to_owned(),
        mechanism: tier.active.then(|| tier.mechanism.clone().into_owned()),
        remedy: tier.remedy.clone().map(std::borrow::Cow::into_owned),
    });
    let programs = health.programs.iter().map(|program| AttachedProgram {
        bpf_program: program.name.clone().into_owned(),
        hook: program.hook.clone().into_owned(),
        attached: program.attached,
    });
    let blind_spots =
        health.blind_spots.iter().map(|spot| BlindSpot { what: spot.what.to_owned(), blind: spot.blind });
    let losses = health.lost.iter().map(|(stage, lost)| Loss { stage: (*stage).to_owned(), lost: *lost });
    let of_kind = |kind: Correction| (kind.as_str(), corrections.get(&kind).copied().unwrap_or(0));
    StatusReport {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: known.uptime.as_secs_f64(),
        ready: known.waiting_for.is_empty(),
        tiers: tiers.collect(),
        programs: programs.collect(),
        blind_spots: blind_spots.collect(),
        losses: losses.collect(),
        sockets: inventory.len(),
        groups: groups.live(),
        corrections: Correction::ALL.map(of_kind).into(),
    }
}

fn json(body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(body) => Answer::new(Content::Json, body),
        // No report has a key that is no string, the only thing that can go wrong.
        Err(error) => Answer::unavailable(format!("the answer cannot be JSON: {error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reuse_model::{
        endpoint::{Family, Transport},
        group::Groups,
        inventory::{Inventory, Limits},
        report::Context,
        tally::Tally,
        test_group::{TestGroup, TestGroups},
    };

    use super::*;
    use crate::{
        clock::Clock,
        export::metrics::{self, KernelHealth, Tier},
    };

    struct Names;

    impl Context for Names {
        fn netns_name(&self, _: reuse_model::socket::NetNs) -> std::sync::Arc<str> {
            "host".into()
        }
        fn user_name(&self, _: u32) -> Option<std::sync::Arc<str>> {
            None
        }
        fn command_line(&self, _: &reuse_model::process::Process) -> Option<Vec<Vec<u8>>> {
            None
        }
        fn time(&self, _: reuse_model::event::Moment) -> String {
            String::new()
        }
    }

    fn ask(query: Query, waiting_for: &[String]) -> Answer {
        let tier = |tier, active| Tier { tier, mechanism: "tracepoint".into(), active, remedy: None };
        let health = KernelHealth {
            tiers: vec![tier("bind", true), tier("listen", false)],
            blind_spots: vec![metrics::BlindSpot { what: "io_uring", blind: true }],
            lost: vec![("ring_call", 7)],
            ..KernelHealth::default()
        };
        let mut test_groups = TestGroups::default();
        test_groups.announce(TestGroup { transport: Transport::Tcp, family: Family::Ipv4 }, 4);
        let known = Known {
            observed: Observed {
                tally: &Tally::new(1),
                inventory: &Inventory::new(Limits::default()),
                groups: &Groups::new(),
                selections_counted: true,
                test_groups: &test_groups,
                corrections: &BTreeMap::from([(Correction::MissedClose, 2)]),
                health: &health,
                clock: &Clock::read(),
                context: &Names,
            },
            waiting_for,
            uptime: Duration::from_millis(1_500),
            telemetry_path: &"/metrics".parse().expect("a plain path"),
        };
        answer(query, &known, &mut Metrics::new(10_000).expect("fixed descriptions"))
    }

    fn parsed(query: Query) -> serde_json::Value {
        let answer = ask(query, &[]);
        assert_eq!((answer.available, answer.content), (true, Content::Json));
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    #[test]
    fn ready_is_said_only_when_nothing_is_waited_for() {
        assert_eq!(ask(Query::Ready, &[]), Answer::new(Content::Text, "ready\n"));
        let waiting = ["programs".to_owned(), "the snapshot".to_owned()];
        let not_yet = Answer::unavailable("not ready: waiting for programs, the snapshot\n");
        assert_eq!(ask(Query::Ready, &waiting), not_yet);
        assert!(ask(Query::Healthy, &waiting).available && ask(Query::Landing, &waiting).available);
    }

    #[test]
    fn lists_have_their_name_and_schema() {
        for (query, name, length) in [
            (Query::Sockets, "sockets", 0),
            (Query::Groups, "groups", 0),
            (Query::TestGroup, "test_group", 1),
        ] {
            let body = parsed(query);
            assert_eq!(body["schema"], 1);
            assert_eq!(body[name].as_array().map(Vec::len), Some(length), "{body}");
        }
    }

    #[test]
    fn status_says_what_is_missing_and_lost() {
        let body = parsed(Query::Status);
        assert_eq!(body["ready"], true);
        assert_eq!(body["uptime_seconds"], 1.5);
        assert_eq!(body["tiers"][0]["mechanism"], "tracepoint");
        assert!(body["tiers"][1]["mechanism"].is_null(), "{body}");
        assert_eq!(body["blind_spots"][0]["blind"], true);
        assert_eq!(body["losses"][0]["lost"], 7);
        assert_eq!(body["corrections"]["missed_close"], 2);
        assert_eq!(body["corrections"]["owner_added"], 0);
    }
}
