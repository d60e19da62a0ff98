//! How the kernel side is, for the metrics, the status report and the readiness check.

use reuse_ebpf::count::{Lost, SELECTIONS_MAX};
use reuse_model::event::{Event, Moment, Phase};

use super::Tracer;
use crate::{
    export::metrics::{BlindSpot, KernelHealth, MapFill, Program, RunStats, Tier},
    kernel::{attach::Stage, plan, program_stats},
};

/// Ways to a port, or to change its options, that may go unseen.
const BLIND_SPOTS: [&str; 8] = [
    "compat",
    "io_uring",
    "implicit_connect",
    "implicit_listen",
    "implicit_sendto",
    "kernel",
    "seccomp",
    "setsockopt",
];

/// Records taken in.
#[derive(Debug, Default)]
pub(super) struct Received {
    bind: u64,
    listen: u64,
    implicit: u64,
    close: u64,
    exit: u64,
    fork: u64,
    exec: u64,
    touch: u64,
    pass: u64,
    pub(super) undecodable: u64,
    last: Option<Moment>,
}

impl Received {
    pub(super) fn count(&mut self, event: &Event) {
        let counter = match event {
            Event::Call(call) => match call.phase {
                Phase::Bind => &mut self.bind,
                Phase::Listen => &mut self.listen,
                Phase::Connect | Phase::Send => &mut self.implicit,
            },
            Event::Attempt(_) => return,
            Event::Close { .. } => &mut self.close,
            Event::Exit { .. } => &mut self.exit,
            Event::Fork { .. } => &mut self.fork,
            Event::Exec { .. } => &mut self.exec,
            Event::Touch(_) => &mut self.touch,
            Event::Sent { .. } | Event::Took { .. } => &mut self.pass,
        };
        *counter += 1;
        self.last = self.last.max(Some(event.at()));
    }
}

impl Tracer {
    pub(super) fn is_blind(&self, what: &str) -> bool {
        let active = |tier| self.kernel.active(tier);
        match what {
            "compat" | "kernel" => !active(plan::Tier::OtherWays),
            // Where the tier is off, this kernel's io_uring cannot bind.
            "io_uring" => !self.is_off(plan::Tier::IoUring) && !active(plan::Tier::IoUring),
            "implicit_connect" => !active(plan::Tier::ImplicitConnect),
            "implicit_listen" => !active(plan::Tier::Listen),
            "implicit_sendto" => !active(plan::Tier::ImplicitSend),
            // A filter answers before anything else looks at the call.
            "seccomp" => !self.kernel.is_attached("sys_exit_bind_listen"),
            "setsockopt" => !active(plan::Tier::Options),
            _ => true,
        }
    }

    /// Whether the tier is not asked for, or has nothing to see on this kernel.
    fn is_off(&self, tier: plan::Tier) -> bool {
        self.kernel.off.iter().any(|off| off.tier == tier)
    }

    pub(super) fn health(&self) -> KernelHealth {
        let Received { bind, listen, implicit, close, exit, fork, exec, touch, pass, undecodable: _, last } =
            self.received;
        KernelHealth {
            tiers: plan::Tier::ALL.into_iter().map(|tier| self.tier(tier)).collect(),
            blind_spots: BLIND_SPOTS.map(|what| BlindSpot { what, blind: self.is_blind(what) }).to_vec(),
            programs: self.programs(),
            maps: vec![MapFill { map: "SELECTIONS", entries: self.counted, capacity: SELECTIONS_MAX.into() }],
            received: vec![
                ("bind", bind),
                ("listen", listen),
                ("implicit", implicit),
                ("close", close),
                ("exit", exit),
                ("fork", fork),
                ("exec", exec),
                ("touch", touch),
                ("pass", pass),
            ],
            lost: self.lost(),
            last_event: last,
        }
    }

    fn tier(&self, tier: plan::Tier) -> Tier {
        let planned = self.kernel.programs.iter().find(|planned| planned.step.serves(tier));
        let gap = self.kernel.gaps.iter().chain(&self.kernel.off).find(|gap| gap.tier == tier);
        Tier {
            tier: tier.as_str(),
            mechanism: planned.map_or("none", |planned| planned.step.hook.mechanism()).into(),
            active: gap.is_none() && planned.is_some_and(|planned| planned.stage == Stage::Attached),
            remedy: gap.map(|gap| format!("{}; {}", gap.reason, gap.remedy).into()),
        }
    }

    fn programs(&self) -> Vec<Program> {
        let measuring = program_stats::measuring();
        let programs = self.kernel.stats().map(|(planned, stats)| Program {
            name: planned.step.program.into(),
            hook: planned.step.hook.label().into(),
            attached: planned.stage == Stage::Attached,
            run: measuring.then_some(RunStats { nanoseconds: stats.run_ns, runs: stats.runs }),
        });
        programs.collect()
    }

    /// Everything that was lost anywhere, by stage.
    pub(super) fn lost(&self) -> Vec<(&'static str, u64)> {
        let kernel = self.losses.read().map(|(stage, count): (Lost, u64)| (stage.stage(), count));
        let skipped = self.kernel.stats().map(|(_, stats)| stats.skipped).sum();
        let own = [
            ("program_skipped", skipped),
            ("decode", self.received.undecodable),
            ("selection_unattributed", self.unattributed),
            ("signals", self.signals.overflow()),
            ("signals_untold", self.signals.untold()),
            ("event_output", self.outlet.lost()),
        ];
        kernel.into_iter().chain(own).collect()
    }

    /// Why the daemon is not ready, `None` if it is.
    pub(super) fn unready(&self) -> Option<String> {
        if !self.inventory.is_backfilled() {
            return Some("the sockets that were there first are still being read".to_owned());
        }
        let refused: Vec<_> = self
            .kernel
            .programs
            .iter()
            .filter(|planned| planned.stage != Stage::Attached)
            .map(|planned| planned.step.program)
            .collect();
        (!refused.is_empty())
            .then(|| format!("not attached: {}; see reuse-daemon doctor", refused.join(", ")))
    }
}
