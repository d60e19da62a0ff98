//! Answers: to the web side rendered, so that nothing of the model crosses the boundary; to the local socket as reports.

use std::{sync::Arc, time::Duration};

use reuse_model::report::{
    self, ActiveTier, AttachedProgram, GroupList, GroupReport, Loss, SCHEMA, SignalList, SocketList,
    StatusReport, TestGroupList, TestGroupReport, View,
};
use serde::Serialize;

use super::{
    Tracer,
    told_signals::{self, Records},
};
use crate::{
    clock::Clock,
    config::TelemetryPath,
    export::metrics::{Observed, SignalsSeen},
    kernel::plan,
    owner::shown::Shown,
    query::{
        Answer, Content, Query,
        local::{LocalAnswer, LocalQuery},
    },
    render::{groups, landing::Landing},
};

impl Tracer {
    /// Answers a question. Every event up to now must have been taken in before.
    pub fn answer(&mut self, query: Query, telemetry_path: &TelemetryPath) -> Answer {
        match query {
            Query::Metrics => self.metrics_page(),
            Query::Healthy => Answer::new(Content::Text, "healthy\n"),
            Query::Ready => match self.unready() {
                None => Answer::new(Content::Text, "ready\n"),
                Some(why) => Answer::unavailable(format!("not ready: {why}\n")),
            },
            Query::Landing => {
                let waiting_for: Vec<_> = self.unready().into_iter().collect();
                let kernel = groups::sentence(&TestGroupReport::all(&self.test_groups, &self.names));
                let page = Landing {
                    telemetry_path,
                    waiting_for: &waiting_for,
                    signals: told_signals::active(&self.signals),
                    kernel: kernel.as_deref(),
                };
                Answer::new(Content::Html, page.html())
            }
            Query::Sockets => json(&self.socket_list(View::Network)),
            Query::Groups => json(&self.group_list(View::Network)),
            Query::Conflicts => json(&self.refusals.list(None, Clock::now(), &self.names, View::Network)),
            Query::Signals => json(&self.signal_list(None, View::Network)),
            Query::TestGroup => json(&self.test_group_list()),
            Query::Status => json(&self.status()),
        }
    }

    /// Answers a question of the local socket. Every event up to now must have been taken in before.
    pub fn answer_local(&mut self, query: LocalQuery) -> LocalAnswer {
        let needs_sockets =
            matches!(query, LocalQuery::Sockets | LocalQuery::Groups | LocalQuery::Signals { .. });
        if needs_sockets && !self.inventory.is_backfilled() {
            let why = "the daemon is still reading the sockets that were there before it; ask again";
            return LocalAnswer::Unavailable(why.to_owned());
        }
        match query {
            LocalQuery::Sockets => LocalAnswer::Sockets(Arc::new(self.socket_list(View::Local))),
            LocalQuery::Groups => LocalAnswer::Groups(Arc::new(self.group_list(View::Local))),
            LocalQuery::TestGroup => LocalAnswer::TestGroup(Arc::new(self.test_group_list())),
            LocalQuery::Status => LocalAnswer::Status(Arc::new(self.status())),
            LocalQuery::Conflicts { within } => {
                let list = self.refusals.list(within, Clock::now(), &self.names, View::Local);
                LocalAnswer::Conflicts(Arc::new(list))
            }
            LocalQuery::Signals { within } => {
                let SignalList { schema, signals, dropped } = self.signal_list(within, View::Local);
                let signals = signals.collect();
                LocalAnswer::Signals(Arc::new(SignalList { schema, signals, dropped }))
            }
        }
    }

    fn metrics_page(&mut self) -> Answer {
        self.count_selections();
        let health = self.health();
        let ephemeral_listeners = self.ephemeral_listeners();
        let active: Vec<_> = self.signals.active().collect();
        let raised: Vec<_> = self.signals.raised().collect();
        let text = self.metrics.scrape(&Observed {
            tally: &self.tally,
            inventory: &self.inventory,
            ephemeral_listeners: &ephemeral_listeners,
            groups: &self.groups,
            signals: SignalsSeen { active: &active, raised: &raised },
            selections_counted: self.counts_selections(),
            test_groups: &self.test_groups,
            corrections: &self.corrections,
            health: &health,
            config_loaded: self.config_loaded,
            clock: self.names.clock(),
            context: &self.names,
        });
        Answer::new(Content::Metrics, text)
    }

    fn counts_selections(&self) -> bool {
        self.kernel.active(plan::Tier::Selection)
    }

    fn socket_list(&self, view: View) -> SocketList {
        SocketList::new(&self.inventory, &Shown { names: &self.names, view }, view)
    }

    fn group_list(&mut self, view: View) -> GroupList {
        self.count_selections();
        let counted = self.counts_selections();
        let shown = Shown { names: &self.names, view };
        let mut groups: Vec<_> = self.groups.iter().filter(|group| group.is_live()).collect();
        groups.sort_by_key(|group| *group.key());
        let reports = groups.into_iter().map(|group| GroupReport::new(group, counted, &shown, view));
        GroupList { schema: SCHEMA, groups: reports.collect() }
    }

    fn signal_list(&mut self, within: Option<Duration>, view: View) -> SignalList<Records<'_>> {
        self.count_selections();
        told_signals::list(&self.signals, within, Clock::now(), Shown { names: &self.names, view })
    }

    fn test_group_list(&self) -> TestGroupList {
        TestGroupList { schema: SCHEMA, test_group: TestGroupReport::all(&self.test_groups, &self.names) }
    }

    fn status(&self) -> StatusReport {
        let health = self.health();
        let uptime = Clock::now().0.saturating_sub(self.started.0);
        let tiers = health.tiers.into_iter().map(|tier| ActiveTier {
            tier: tier.tier.to_owned(),
            mechanism: tier.active.then(|| tier.mechanism.into_owned()),
            remedy: tier.remedy.map(Into::into),
        });
        let programs = health.programs.into_iter().map(|program| AttachedProgram {
            bpf_program: program.name.into_owned(),
            hook: program.hook.into_owned(),
            attached: program.attached,
        });
        let blind_spots = health
            .blind_spots
            .into_iter()
            .map(|spot| report::BlindSpot { what: spot.what.to_owned(), blind: spot.blind });
        StatusReport {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: uptime as f64 / 1e9,
            ready: self.unready().is_none(),
            tiers: tiers.collect(),
            programs: programs.collect(),
            blind_spots: blind_spots.collect(),
            losses: health
                .lost
                .into_iter()
                .map(|(stage, lost)| Loss { stage: stage.to_owned(), lost })
                .collect(),
            sockets: self.inventory.len(),
            groups: self.groups.live(),
            corrections: self.corrections.iter().map(|(kind, count)| (kind.as_str(), *count)).collect(),
        }
    }
}

fn json(report: &impl Serialize) -> Answer {
    match serde_json::to_vec(report) {
        Ok(body) => Answer::new(Content::Json, body),
        // String keys and finite numbers only: not expected.
        Err(error) => Answer::unavailable(format!("cannot render the answer: {error}\n")),
    }
}
