//! One case for each thing a kernel may lack, and what holds for all kernels.

use proptest::prelude::*;
use reuse_ebpf::offsets::Concern;

use super::*;

const WHY: &str = "it is not there";

fn full() -> Capabilities {
    Capabilities::everything("/sys/fs/cgroup".into(), 16)
}

fn without(lacking: &[Capability]) -> Capabilities {
    let lack = Lack { why: WHY.to_owned(), remedy: "get it" };
    lacking.iter().fold(full(), |have, capability| have.without(*capability, lack.clone()))
}

fn plan_of(have: &Capabilities) -> Plan {
    plan(have, Wanted::default())
}

fn programs(plan: &Plan, tier: Tier) -> Vec<&'static str> {
    plan.steps.iter().filter(|step| step.serves(tier)).map(|step| step.program).collect()
}

fn tiers(gaps: &[Gap]) -> Vec<Tier> {
    gaps.iter().map(|gap| gap.tier).collect()
}

const HOOKS: [&str; 4] = ["reuse_bind4", "reuse_bind6", "reuse_post_bind4", "reuse_post_bind6"];

#[test]
fn a_kernel_with_everything_has_every_tier_and_no_gap() {
    let plan = plan(&full(), Wanted { sendto: true, ..Wanted::default() });
    assert!(plan.gaps.is_empty() && plan.off.is_empty());
    for tier in Tier::ALL {
        assert!(!programs(&plan, tier).is_empty(), "{tier:?}");
    }
    assert_eq!(programs(&plan, Tier::Bind), ["sys_exit_bind_listen"]);
}

/// What is lacking; which tiers are gaps then; which programs stand in for which tier.
type Case = (&'static [Capability], &'static [Tier], &'static [(Tier, &'static [&'static str])]);

const CASES: &[Case] = &[
    (&[Capability::SK_DATA_READY], &[], &[(Tier::Selection, &["sock_def_readable", "subflow_data_ready"])]),
    (
        &[Capability::SK_DATA_READY, Capability::SUBFLOW_DATA_READY],
        &[],
        &[(Tier::Selection, &["sock_def_readable"])],
    ),
    (
        &[Capability::SK_DATA_READY, Capability::Fentry],
        &[],
        &[(Tier::Selection, &["sock_def_readable_probe", "subflow_data_ready_probe"])],
    ),
    (
        &[Capability::SK_DATA_READY, Capability::Fentry, Capability::Kprobe],
        &[Tier::Selection, Tier::Flows, Tier::Passing],
        &[],
    ),
    (
        &[Capability::SK_DATA_READY, Capability::SOCK_DEF_READABLE],
        &[Tier::Selection, Tier::Flows, Tier::Passing],
        &[],
    ),
    (&[Capability::Fentry, Capability::Kprobe], &[], &[(Tier::Selection, &["sk_data_ready"])]),
    // The same programs, which read otherwise.
    (&[Capability::RdonlyCast], &[], &[(Tier::Bind, &["sys_exit_bind_listen"])]),
    (&[Capability::UDP_FAIL_QUEUE_RCV_SKB], &[], &[(Tier::SelectionDrops, &["udp_queued"])]),
    (&[Capability::UDP_FAIL_QUEUE_RCV_SKB, Capability::Fentry], &[Tier::SelectionDrops], &[]),
    (
        &[Capability::UDP_FAIL_QUEUE_RCV_SKB, Capability::UDP_ENQUEUE_SCHEDULE_SKB],
        &[Tier::SelectionDrops],
        &[],
    ),
    (&[Capability::UdpRefusedDatagram], &[], &[(Tier::SelectionDrops, &["udp_queued"])]),
    (
        &[Capability::UdpRefusedDatagram, Capability::Fentry],
        &[],
        &[(Tier::SelectionDrops, &["udp_refused_unseen"])],
    ),
    (&[Capability::SCHED_PROCESS_EXIT], &[Tier::Exit], &[]),
    (&[Capability::SCHED_PROCESS_FORK], &[Tier::Processes], &[]),
    (&[Capability::SCHED_PROCESS_EXEC], &[Tier::Processes], &[(Tier::Exit, &["sched_process_exit"])]),
    (&[Capability::IO_URING_COMPLETE], &[Tier::IoUring], &[]),
    (
        &[Capability::INET_SOCK_SET_STATE],
        &[Tier::ImplicitConnect],
        &[(Tier::Listen, &["sys_exit_bind_listen"])],
    ),
    (
        &[Capability::BpfLoop],
        &[Tier::GroupOrder, Tier::Multicast, Tier::Holders, Tier::Passing],
        &[(Tier::Bind, &["sys_exit_bind_listen"]), (Tier::Circumstances, &["sys_exit_bind_listen"])],
    ),
    (&[Capability::Cgroup], &[Tier::Close, Tier::OtherWays], &[(Tier::Bind, &["sys_exit_bind_listen"])]),
    (
        &[Capability::SyscallTracepoints],
        &[Tier::Answers, Tier::Options],
        &[(Tier::Bind, &HOOKS), (Tier::Listen, &["inet_sock_set_state"]), (Tier::Holders, &HOOKS)],
    ),
    (
        &[Capability::SyscallTracepoints, Capability::Cgroup],
        &[
            Tier::Close,
            Tier::OtherWays,
            Tier::Bind,
            Tier::Holders,
            Tier::Circumstances,
            Tier::Answers,
            Tier::Options,
        ],
        &[(Tier::Listen, &["inet_sock_set_state"])],
    ),
    (
        &[Capability::SyscallTracepoints, Capability::INET_SOCK_SET_STATE],
        &[Tier::ImplicitConnect, Tier::Listen, Tier::Answers, Tier::Options],
        &[(Tier::Bind, &HOOKS)],
    ),
    (&[Capability::BPF_MAP_ELEM], &[Tier::Sample, Tier::Queues], &[]),
    (
        &[Capability::TASK_FILE],
        &[Tier::Inventory, Tier::Groups, Tier::GroupOrder, Tier::Creator, Tier::Multicast],
        &[],
    ),
    (&[Capability::Members(Concern::Holders)], &[Tier::Holders], &[(Tier::Bind, &["sys_exit_bind_listen"])]),
    (&[Capability::Members(Concern::Circumstances)], &[Tier::Circumstances], &[]),
    (
        &[Capability::Members(Concern::Selection)],
        &[Tier::Selection, Tier::Flows, Tier::SelectionDrops, Tier::Passing],
        &[],
    ),
    (&[Capability::Members(Concern::Flows)], &[Tier::Flows], &[(Tier::Selection, &["sk_data_ready"])]),
    (&[Capability::Members(Concern::Passing)], &[Tier::Passing], &[(Tier::Selection, &["sk_data_ready"])]),
    (&[Capability::Members(Concern::Groups)], &[Tier::Groups, Tier::GroupOrder], &[]),
    (&[Capability::Members(Concern::GroupOrder)], &[Tier::GroupOrder], &[(Tier::Groups, &["snapshot"])]),
    (&[Capability::Members(Concern::Creator)], &[Tier::Creator], &[(Tier::Multicast, &["snapshot"])]),
    (&[Capability::Members(Concern::Multicast)], &[Tier::Multicast], &[(Tier::Creator, &["snapshot"])]),
    (&[Capability::Members(Concern::Exit)], &[Tier::Exit], &[]),
    (&[Capability::Members(Concern::Gauges)], &[Tier::Queues], &[(Tier::Sample, &["sample"])]),
    (&[Capability::Members(Concern::Connect)], &[Tier::ImplicitConnect], &[]),
    (&[Capability::Members(Concern::IoUring)], &[Tier::IoUring], &[]),
    (&[Capability::Members(Concern::Ways)], &[Tier::OtherWays, Tier::ImplicitConnect], &[]),
];

#[test]
fn what_is_lacking_costs_its_own_tiers_and_names_itself() {
    for (lacking, gaps, instead) in CASES {
        let plan = plan_of(&without(lacking));
        assert_eq!(tiers(&plan.gaps), *gaps, "without {lacking:?}");
        for (tier, expected) in *instead {
            assert_eq!(programs(&plan, *tier), *expected, "{tier:?} without {lacking:?}");
        }
        let named =
            |gap: &Gap| gap.reason.contains(WHY) && gap.reason.contains(": ") && gap.remedy == "get it";
        assert!(plan.gaps.iter().all(named), "{:?}", plan.gaps);
    }
}

/// What a gap says is lost, without why.
fn lost(lacking: &[Capability], wanted: Wanted, tier: Tier) -> String {
    let plan = plan(&without(lacking), wanted);
    let gap = plan.gaps.iter().find(|gap| gap.tier == tier).unwrap_or_else(|| panic!("no gap {tier:?}"));
    gap.reason.split_once(": ").map_or_else(|| panic!("{}", gap.reason), |(_, lost)| lost.to_owned())
}

#[test]
fn a_gap_says_of_every_way_what_is_lost() {
    const STATES: Capability = Capability::INET_SOCK_SET_STATE;
    const COMPLETIONS: Capability = Capability::IO_URING_COMPLETE;
    let calls = Wanted::default();
    let light = Wanted { syscalls: false, ..calls };
    for (lacking, wanted, tier, expected) in [
        (
            &[STATES][..],
            calls,
            Tier::ImplicitConnect,
            "connects that found no port are not seen, nor listens by 32-bit calls and by the kernel, successful or \
             refused",
        ),
        (&[STATES], light, Tier::ImplicitConnect, "connects that found no port are not seen"),
        (
            &[STATES],
            light,
            Tier::Listen,
            "listens are not seen, successful or refused, but for those by io_uring",
        ),
        (&[STATES, COMPLETIONS], light, Tier::Listen, "listens are not seen, successful or refused"),
        (
            &[COMPLETIONS],
            calls,
            Tier::IoUring,
            "why io_uring refuses a bind is inferred, and its listens are not seen, successful or refused",
        ),
        (
            &[Capability::Cgroup, COMPLETIONS],
            calls,
            Tier::IoUring,
            "binds and listens by io_uring are not seen",
        ),
        (
            &[Capability::Cgroup],
            calls,
            Tier::OtherWays,
            "binds by 32-bit calls and by the kernel are not seen, of a bind that io_uring refuses neither the \
             address nor the rule is known, and nothing checks that no bind is missed",
        ),
        (
            &[Capability::Cgroup, COMPLETIONS],
            calls,
            Tier::OtherWays,
            "binds by 32-bit calls and by the kernel are not seen, nor those by io_uring, and nothing checks that no \
             bind is missed",
        ),
    ] {
        assert_eq!(lost(lacking, wanted, tier), expected, "{tier:?} without {lacking:?}, {wanted:?}");
    }
}

#[test]
fn each_tier_of_the_wake_ups_says_its_own_loss() {
    let no_wakeups = [Capability::SK_DATA_READY, Capability::SOCK_DEF_READABLE];
    for lacking in [&no_wakeups[..], &[Capability::Members(Concern::Selection)]] {
        let lost = |tier| lost(lacking, Wanted::default(), tier);
        assert_eq!(lost(Tier::Selection), "only the test group is counted");
        assert_eq!(lost(Tier::Flows), "no statistics on datagrams");
        assert!(lost(Tier::Passing).contains("sent a socket"));
        // Refusals are seen without the wake-ups, but not without the members that both need.
        if lacking != no_wakeups {
            assert!(lost(Tier::SelectionDrops).contains("full buffer only the sockets' own count"));
        }
    }
}

#[test]
fn every_capability_has_a_case() {
    for capability in Capability::ALL {
        assert!(CASES.iter().any(|(lacking, ..)| lacking.contains(&capability)), "{capability}");
    }
}

#[test]
fn system_calls_left_out_are_off_and_no_gap() {
    let plan = plan(&full(), Wanted { syscalls: false, ..Wanted::default() });
    assert_eq!(programs(&plan, Tier::Bind), HOOKS);
    assert_eq!(programs(&plan, Tier::Listen), ["inet_sock_set_state"]);
    assert!(plan.gaps.is_empty(), "{:?}", plan.gaps);
    assert_eq!(tiers(&plan.off), [Tier::Answers, Tier::ImplicitSend, Tier::Options]);
    let tracepoints = plan.steps.iter().filter(|step| step.hook.mechanism() == "tracepoint");
    assert_eq!(tracepoints.count(), 0, "nothing that other calls pay for");
}

#[test]
fn a_kernel_whose_io_uring_cannot_bind_needs_no_eye_on_it() {
    let mut have = full();
    have.io_uring_bind = false;
    let plan = plan_of(&have);
    assert!(programs(&plan, Tier::IoUring).is_empty() && plan.gaps.is_empty());
    assert_eq!(tiers(&plan.off), [Tier::IoUring, Tier::ImplicitSend]);
}

#[test]
fn ends_are_attached_before_beginnings_and_the_check_before_what_it_checks() {
    let plan = plan_of(&full());
    let place = |program| plan.steps.iter().position(|step| step.program == program).expect("planned");
    assert!(place("sock_release") < place("sys_exit_bind_listen"));
    assert!(place("sched_process_exit") < place("sys_exit_bind_listen"));
    assert!(place("reuse_post_bind6") < place("sys_exit_bind_listen"));
}

proptest! {
    #[test]
    fn every_tier_has_a_step_or_a_gap_or_is_off(
        lacking in prop::sample::subsequence(Capability::ALL.to_vec(), 0..=Capability::ALL.len()),
        io_uring_bind in any::<bool>(),
        syscalls in any::<bool>(),
        sendto in any::<bool>(),
    ) {
        let mut have = without(&lacking);
        have.io_uring_bind = io_uring_bind;
        let plan = plan(&have, Wanted { syscalls, sendto });
        for tier in Tier::ALL {
            let planned = plan.steps.iter().any(|step| step.serves(tier));
            let missing = plan.gaps.iter().filter(|gap| gap.tier == tier).count();
            let off = plan.off.iter().filter(|off| off.tier == tier).count();
            prop_assert_eq!(usize::from(planned) + missing + off, 1, "{:?}", tier);
        }
        let mut programs: Vec<_> = plan.steps.iter().map(|step| step.program).collect();
        let steps = programs.len();
        programs.sort_unstable();
        programs.dedup();
        prop_assert_eq!(programs.len(), steps, "a program is planned twice");
    }
}
