//! What to attach on a kernel with given capabilities: pure, one decision per thing the daemon wants to see.

use std::path::PathBuf;

use super::capabilities::Capabilities;

/// One thing the daemon wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// `bind` system calls
    Bind,
    /// `listen` system calls
    Listen,
    /// Which member of a group got the traffic
    Selection,
    /// Datagrams refused by a full buffer
    SelectionDrops,
    /// Sockets that go
    Close,
    /// Processes that go
    Exit,
    /// Sockets that were there first
    Inventory,
    /// Reading the selection counters with each socket's own numbers
    Sample,
    /// The kernel's hash on the daemon's own groups
    TestGroup,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 9] = [
        Self::Bind,
        Self::Listen,
        Self::Selection,
        Self::SelectionDrops,
        Self::Close,
        Self::Exit,
        Self::Inventory,
        Self::Sample,
        Self::TestGroup,
    ];

    /// Value of the label `tier`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Selection => "selection",
            Self::SelectionDrops => "selection_drops",
            Self::Close => "close",
            Self::Exit => "exit",
            Self::Inventory => "inventory",
            Self::Sample => "sample",
            Self::TestGroup => "test_group",
        }
    }
}

/// Where a program goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tracepoint by category and name
    Tracepoint(&'static str, &'static str),
    /// A tracepoint with typed arguments
    BtfTracepoint(&'static str),
    /// Entry of a kernel function
    FunctionEntry(&'static str),
    /// `sock_release` of the root cgroup
    SockRelease(PathBuf),
    /// An iterator
    Iterator(&'static str),
    /// The daemon's own groups
    OwnGroup,
}

impl Hook {
    /// Value of the label `mechanism`.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::Tracepoint(..) => "tracepoint",
            Self::BtfTracepoint(_) => "btf_tracepoint",
            Self::FunctionEntry(_) => "fentry",
            Self::SockRelease(_) => "cgroup",
            Self::Iterator(_) => "iterator",
            Self::OwnGroup => "sk_reuseport",
        }
    }

    /// Value of the label `hook`: the mechanism and its place.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Tracepoint(category, name) => format!("tracepoint/{category}/{name}"),
            Self::BtfTracepoint(name) => format!("tp_btf/{name}"),
            Self::FunctionEntry(name) => format!("fentry/{name}"),
            Self::SockRelease(_) => "cgroup/sock_release".to_owned(),
            Self::Iterator(name) => format!("iter/{name}"),
            Self::OwnGroup => "sk_reuseport".to_owned(),
        }
    }
}

/// One program to load and attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What for
    pub tier: Tier,
    /// Its name in the object
    pub program: &'static str,
    /// Where it goes
    pub hook: Hook,
}

/// A tier that this kernel cannot have, and what would mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which
    pub tier: Tier,
    /// Why, and what is lost
    pub reason: String,
    /// What to do about it
    pub remedy: &'static str,
}

/// What to attach, in order, and what cannot be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of attaching: ends before beginnings, so that nothing is seen to begin whose end would be missed
    pub steps: Vec<Step>,
    /// What is missing
    pub gaps: Vec<Gap>,
}

/// What the operator wants to see, where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// System calls: their tracepoints cost every other system call of the host some nanoseconds
    pub syscalls: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { syscalls: true }
    }
}

/// Decides.
#[must_use]
pub fn plan(have: &Capabilities, wanted: Wanted) -> Plan {
    let mut plan = Plan::default();
    plan.step(Tier::Inventory, "snapshot", Hook::Iterator("task_file"));
    plan.step(Tier::Sample, "sample", Hook::Iterator("bpf_map_elem"));
    plan.step(Tier::TestGroup, "own_group", Hook::OwnGroup);
    plan.ends(have);
    plan.calls(have, wanted);
    plan.selections(have);
    plan
}

impl Plan {
    fn step(&mut self, tier: Tier, program: &'static str, hook: Hook) {
        self.steps.push(Step { tier, program, hook });
    }

    fn gap(&mut self, tier: Tier, reason: &str, remedy: &'static str) {
        self.gaps.push(Gap { tier, reason: reason.to_owned(), remedy });
    }

    fn ends(&mut self, have: &Capabilities) {
        match &have.cgroup {
            Some(root) => self.step(Tier::Close, "sock_release", Hook::SockRelease(root.clone())),
            None => self.gap(
                Tier::Close,
                "the whole cgroup v2 hierarchy is not mounted: closed sockets are noticed only by reconciliation",
                "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified",
            ),
        }
        if have.exit_tracepoint {
            self.step(Tier::Exit, "sched_process_exit", Hook::BtfTracepoint("sched_process_exit"));
        } else {
            self.gap(
                Tier::Exit,
                "no tracepoint sched_process_exit: owners that ended are noticed only by reconciliation",
                "use a kernel with CONFIG_TRACEPOINTS",
            );
        }
    }

    fn calls(&mut self, have: &Capabilities, wanted: Wanted) {
        for (tier, program) in [(Tier::Bind, "sys_exit_bind"), (Tier::Listen, "sys_exit_listen")] {
            if !wanted.syscalls {
                self.gap(
                    tier,
                    "switched off by --trace.syscalls=false: calls are not seen",
                    "leave that flag out",
                );
            } else if have.syscall_tracepoints {
                self.step(tier, program, Hook::Tracepoint("syscalls", program));
            } else {
                self.gap(
                    tier,
                    "no syscalls tracepoints in tracefs: calls are not seen",
                    "mount tracefs at /sys/kernel/tracing, or use a kernel with CONFIG_FTRACE_SYSCALLS",
                );
            }
        }
    }

    fn selections(&mut self, have: &Capabilities) {
        if have.data_ready_tracepoint {
            self.step(Tier::Selection, "sk_data_ready", Hook::BtfTracepoint("sk_data_ready"));
        } else if have.readable_function {
            self.step(Tier::Selection, "sock_def_readable", Hook::FunctionEntry("sock_def_readable"));
            if have.subflow_function {
                self.step(Tier::Selection, "subflow_data_ready", Hook::FunctionEntry("subflow_data_ready"));
            }
        } else {
            self.gap(
                Tier::Selection,
                "neither the tracepoint sk_data_ready nor the function sock_def_readable: only the test group is counted",
                "use Linux 6.3 or later",
            );
        }
        if have.udp_drop_tracepoint {
            let hook = Hook::BtfTracepoint("udp_fail_queue_rcv_skb");
            let program = if have.udp_drop_shows_datagram { "udp_refused" } else { "udp_refused_unseen" };
            self.step(Tier::SelectionDrops, program, hook);
        } else {
            self.gap(
                Tier::SelectionDrops,
                "no tracepoint udp_fail_queue_rcv_skb: datagrams refused by a full buffer are not in the selections",
                "see group_drops_total for them",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(have: &Capabilities) -> Plan {
        super::plan(have, Wanted::default())
    }

    fn full() -> Capabilities {
        Capabilities {
            syscall_tracepoints: true,
            data_ready_tracepoint: true,
            readable_function: true,
            subflow_function: true,
            udp_drop_tracepoint: true,
            udp_drop_shows_datagram: true,
            exit_tracepoint: true,
            cgroup: Some("/sys/fs/cgroup".into()),
        }
    }

    fn programs(plan: &Plan, tier: Tier) -> Vec<&'static str> {
        plan.steps.iter().filter(|step| step.tier == tier).map(|step| step.program).collect()
    }

    #[test]
    fn a_kernel_with_everything_has_every_tier_and_no_gap() {
        let plan = plan(&full());
        assert!(plan.gaps.is_empty());
        for tier in Tier::ALL {
            assert_eq!(programs(&plan, tier).len(), 1, "{tier:?}");
        }
    }

    #[test]
    fn without_the_tracepoint_the_functions_that_wake_are_entered() {
        let before_6_3 = Capabilities { data_ready_tracepoint: false, ..full() };
        assert_eq!(
            programs(&plan(&before_6_3), Tier::Selection),
            ["sock_def_readable", "subflow_data_ready"]
        );
        let without_mptcp = Capabilities { subflow_function: false, ..before_6_3 };
        assert_eq!(programs(&plan(&without_mptcp), Tier::Selection), ["sock_def_readable"]);
    }

    #[test]
    fn what_is_not_wanted_is_a_gap_that_names_the_flag() {
        let plan = super::plan(&full(), Wanted { syscalls: false });
        assert!(programs(&plan, Tier::Bind).is_empty() && programs(&plan, Tier::Listen).is_empty());
        assert_eq!(programs(&plan, Tier::Close).len(), 1);
        let reasons: Vec<_> = plan.gaps.iter().map(|gap| gap.reason.contains("--trace.syscalls")).collect();
        assert_eq!(reasons, [true, true]);
    }

    #[test]
    fn without_the_datagram_the_last_one_stands_for_it() {
        let before_6_10 = Capabilities { udp_drop_shows_datagram: false, ..full() };
        assert_eq!(programs(&plan(&before_6_10), Tier::SelectionDrops), ["udp_refused_unseen"]);
        assert_eq!(programs(&plan(&full()), Tier::SelectionDrops), ["udp_refused"]);
    }

    #[test]
    fn each_missing_thing_is_a_gap_of_its_tier() {
        let nothing = plan(&Capabilities::default());
        let gaps: Vec<_> = nothing.gaps.iter().map(|gap| gap.tier).collect();
        let lost = [Tier::Close, Tier::Exit, Tier::Bind, Tier::Listen, Tier::Selection, Tier::SelectionDrops];
        assert_eq!(gaps, lost);
        assert_eq!(nothing.steps.len() + gaps.len(), Tier::ALL.len());
    }

    #[test]
    fn ends_are_attached_before_beginnings() {
        let order: Vec<_> = plan(&full()).steps.iter().map(|step| step.tier).collect();
        let place = |tier| order.iter().position(|at| *at == tier);
        assert!(place(Tier::Close) < place(Tier::Bind));
        assert!(place(Tier::Exit) < place(Tier::Bind));
    }
}
