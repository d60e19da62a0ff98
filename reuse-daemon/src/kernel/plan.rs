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
    /// Binds by other ways than the machine's own system calls, and the count of all that the others are checked against
    OtherWays,
    /// What io_uring made of its binds and listens
    IoUring,
    /// `connect` calls that found no port
    ImplicitConnect,
    /// `sendto` calls and their like that found no port
    ImplicitSend,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 13] = [
        Self::Bind,
        Self::Listen,
        Self::Selection,
        Self::SelectionDrops,
        Self::Close,
        Self::Exit,
        Self::Inventory,
        Self::Sample,
        Self::TestGroup,
        Self::OtherWays,
        Self::IoUring,
        Self::ImplicitConnect,
        Self::ImplicitSend,
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
            Self::OtherWays => "other_ways",
            Self::IoUring => "io_uring",
            Self::ImplicitConnect => "implicit_connect",
            Self::ImplicitSend => "implicit_sendto",
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
    /// A hook of the root cgroup, by the name of its kind
    Cgroup(&'static str, PathBuf),
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
            Self::Cgroup(..) => "cgroup",
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
            Self::Cgroup(kind, _) => format!("cgroup/{kind}"),
            Self::Iterator(name) => format!("iter/{name}"),
            Self::OwnGroup => "sk_reuseport".to_owned(),
        }
    }
}

/// One program to load and attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What for
    pub tiers: &'static [Tier],
    /// Its name in the object
    pub program: &'static str,
    /// Where it goes
    pub hook: Hook,
}

impl Step {
    /// Whether a tier needs it.
    #[must_use]
    pub fn serves(&self, tier: Tier) -> bool {
        self.tiers.contains(&tier)
    }
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
    /// What could be had, and is not asked for: it costs others too much
    pub off: Vec<Gap>,
}

/// What the operator wants to see, where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// System calls: their tracepoints cost every other system call of the host some nanoseconds
    pub syscalls: bool,
    /// Datagram sockets that get no port on the way: costs each `sendto` of the host, `sendmsg` and `connect` some more
    pub sendto: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { syscalls: true, sendto: false }
    }
}

/// Decides.
#[must_use]
pub fn plan(have: &Capabilities, wanted: Wanted) -> Plan {
    let mut plan = Plan::default();
    plan.step(&[Tier::Inventory], "snapshot", Hook::Iterator("task_file"));
    plan.step(&[Tier::Sample], "sample", Hook::Iterator("bpf_map_elem"));
    plan.step(&[Tier::TestGroup], "own_group", Hook::OwnGroup);
    plan.ends(have);
    plan.calls(have, wanted);
    plan.sends(have, wanted);
    plan.selections(have);
    plan
}

impl Plan {
    fn step(&mut self, tiers: &'static [Tier], program: &'static str, hook: Hook) {
        self.steps.push(Step { tiers, program, hook });
    }

    fn gap(&mut self, tier: Tier, reason: &str, remedy: &'static str) {
        self.gaps.push(Gap { tier, reason: reason.to_owned(), remedy });
    }

    fn ends(&mut self, have: &Capabilities) {
        match &have.cgroup {
            Some(root) => self.step(&[Tier::Close], "sock_release", Hook::Cgroup("sock_release", root.clone())),
            None => self.gap(
                Tier::Close,
                "the whole cgroup v2 hierarchy is not mounted: closed sockets are noticed only by reconciliation",
                "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified",
            ),
        }
        if have.exit_tracepoint {
            self.step(&[Tier::Exit], "sched_process_exit", Hook::BtfTracepoint("sched_process_exit"));
        } else {
            self.gap(
                Tier::Exit,
                "no tracepoint sched_process_exit: owners that ended are noticed only by reconciliation",
                "use a kernel with CONFIG_TRACEPOINTS",
            );
        }
    }

    /// Explicit calls. The tracepoints of system calls tell the kernel's own answer, but cost every other system call
    /// something; the root cgroup's hooks cost no other call anything, see every way, and tell no answer.
    fn calls(&mut self, have: &Capabilities, wanted: Wanted) {
        let tracepoints = wanted.syscalls && have.syscall_tracepoints;
        let hooks: &'static [Tier] =
            if tracepoints { &[Tier::OtherWays] } else { &[Tier::OtherWays, Tier::Bind] };
        let states: &'static [Tier] =
            if tracepoints { &[Tier::ImplicitConnect] } else { &[Tier::ImplicitConnect, Tier::Listen] };
        // The hooks come first: what they count and nothing tells is a bind that was missed, not the reverse.
        match &have.cgroup {
            Some(root) => {
                for (program, kind) in [
                    ("reuse_bind4", "bind4"),
                    ("reuse_bind6", "bind6"),
                    ("reuse_post_bind4", "post_bind4"),
                    ("reuse_post_bind6", "post_bind6"),
                ] {
                    self.step(hooks, program, Hook::Cgroup(kind, root.clone()));
                }
            }
            None => self.lack(
                hooks,
                "the whole cgroup v2 hierarchy is not mounted: binds by 32-bit calls and by the kernel are not seen, and \
                 nothing checks that no bind is missed",
                "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified",
            ),
        }
        if have.state_tracepoint {
            self.step(states, "inet_sock_set_state", Hook::BtfTracepoint("inet_sock_set_state"));
        } else {
            self.lack(
                states,
                "no tracepoint inet_sock_set_state: connects that found no port are not seen",
                "use a kernel with CONFIG_TRACEPOINTS",
            );
        }
        if !have.io_uring_bind {
            // What the kernel cannot do needs no eye on it.
        } else if have.io_uring_tracepoint {
            self.step(&[Tier::IoUring], "io_uring_complete", Hook::BtfTracepoint("io_uring_complete"));
        } else {
            self.gap(
                Tier::IoUring,
                "no tracepoint io_uring_complete: why io_uring refuses a bind is inferred",
                "use a kernel with CONFIG_TRACEPOINTS",
            );
        }
        if tracepoints {
            self.step(&[Tier::Bind], "sys_exit_bind", Hook::Tracepoint("syscalls", "sys_exit_bind"));
            self.step(&[Tier::Listen], "sys_exit_listen", Hook::Tracepoint("syscalls", "sys_exit_listen"));
        }
    }

    /// Datagram sockets that take a port on the way.
    fn sends(&mut self, have: &Capabilities, wanted: Wanted) {
        if !wanted.sendto {
            self.off.push(Gap {
                tier: Tier::ImplicitSend,
                reason: "off by default: sends and connects of datagram sockets that found no port are not seen".to_owned(),
                remedy: "--trace.sendto=true, which costs every sendto, sendmsg and connect of the host 25 to 30 ns",
            });
        } else if have.syscall_tracepoints {
            for program in ["sys_exit_sendto", "sys_exit_sendmsg", "sys_exit_sendmmsg", "sys_exit_connect"] {
                self.step(&[Tier::ImplicitSend], program, Hook::Tracepoint("syscalls", program));
            }
        } else {
            self.gap(
                Tier::ImplicitSend,
                "no syscalls tracepoints in tracefs: sends that found no port are not seen",
                "mount tracefs at /sys/kernel/tracing, or use a kernel with CONFIG_FTRACE_SYSCALLS",
            );
        }
    }

    fn lack(&mut self, tiers: &[Tier], reason: &str, remedy: &'static str) {
        for tier in tiers {
            self.gap(*tier, reason, remedy);
        }
    }

    fn selections(&mut self, have: &Capabilities) {
        if have.data_ready_tracepoint {
            self.step(&[Tier::Selection], "sk_data_ready", Hook::BtfTracepoint("sk_data_ready"));
        } else if have.readable_function {
            self.step(&[Tier::Selection], "sock_def_readable", Hook::FunctionEntry("sock_def_readable"));
            if have.subflow_function {
                self.step(
                    &[Tier::Selection],
                    "subflow_data_ready",
                    Hook::FunctionEntry("subflow_data_ready"),
                );
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
            self.step(&[Tier::SelectionDrops], program, hook);
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
            state_tracepoint: true,
            io_uring_bind: true,
            io_uring_tracepoint: true,
            cgroup: Some("/sys/fs/cgroup".into()),
        }
    }

    fn programs(plan: &Plan, tier: Tier) -> Vec<&'static str> {
        plan.steps.iter().filter(|step| step.serves(tier)).map(|step| step.program).collect()
    }

    #[test]
    fn a_kernel_with_everything_has_every_tier_and_no_gap() {
        let plan = super::plan(&full(), Wanted { sendto: true, ..Wanted::default() });
        assert!(plan.gaps.is_empty() && plan.off.is_empty());
        for tier in Tier::ALL {
            assert!(!programs(&plan, tier).is_empty(), "{tier:?}");
        }
        assert_eq!(programs(&plan, Tier::Bind), ["sys_exit_bind"]);
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
    fn without_system_calls_the_hooks_of_the_cgroup_and_the_states_stand_in() {
        let asked = super::plan(&full(), Wanted { syscalls: false, ..Wanted::default() });
        let unmounted = plan(&Capabilities { syscall_tracepoints: false, ..full() });
        for plan in [asked, unmounted] {
            let hooks = ["reuse_bind4", "reuse_bind6", "reuse_post_bind4", "reuse_post_bind6"];
            assert_eq!(programs(&plan, Tier::Bind), hooks);
            assert_eq!(programs(&plan, Tier::Listen), ["inet_sock_set_state"]);
            assert!(plan.gaps.is_empty(), "{:?}", plan.gaps);
            let tracepoints = plan.steps.iter().filter(|step| step.hook.mechanism() == "tracepoint");
            assert_eq!(tracepoints.count(), 0, "nothing that other calls pay for");
        }
    }

    #[test]
    fn what_is_dear_is_off_until_it_is_asked_for() {
        let off: Vec<_> = plan(&full()).off.iter().map(|off| off.tier).collect();
        assert_eq!(off, [Tier::ImplicitSend]);
    }

    #[test]
    fn a_kernel_whose_io_uring_cannot_bind_needs_no_eye_on_it() {
        let plan = plan(&Capabilities { io_uring_bind: false, ..full() });
        assert!(programs(&plan, Tier::IoUring).is_empty() && plan.gaps.is_empty());
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
        let lost = [
            Tier::Close,
            Tier::Exit,
            Tier::OtherWays,
            Tier::Bind,
            Tier::ImplicitConnect,
            Tier::Listen,
            Tier::Selection,
            Tier::SelectionDrops,
        ];
        assert_eq!(gaps, lost);
    }

    #[test]
    fn ends_are_attached_before_beginnings() {
        let order: Vec<_> = plan(&full()).steps.iter().map(|step| step.tiers).collect();
        let place = |tier| order.iter().position(|tiers| tiers.contains(&tier));
        assert!(place(Tier::Close) < place(Tier::Bind));
        assert!(place(Tier::Exit) < place(Tier::Bind));
    }
}
