//! The names of what a kernel may lack, as `--trace.avoid` takes them.

use std::{fmt, str::FromStr};

use reuse_ebpf::{
    hooks::{self, Hook},
    offsets::Concern,
};

/// Something a kernel may or may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Tracepoints at the return of system calls, whose records can be read
    SyscallTracepoints,
    /// The whole cgroup v2 hierarchy
    Cgroup,
    /// The helper `bpf_loop` (5.17)
    BpfLoop,
    /// Programs at the entry and at the end of functions
    Fentry,
    /// Probes at the entry of functions
    Kprobe,
    /// Kernel memory can be read by plain loads (`bpf_rdonly_cast`, safely since 6.9): cheaper, nothing more
    RdonlyCast,
    /// A typed hook with a prototype that is known
    Hook(&'static str),
    /// `udp_fail_queue_rcv_skb` shows the datagram (6.10)
    UdpRefusedDatagram,
    /// Every member that a concern needs
    Members(Concern),
}

impl Capability {
    /// Those that a start may do without.
    pub const ALL: [Self; 32] = [
        Self::SyscallTracepoints,
        Self::Cgroup,
        Self::BpfLoop,
        Self::Fentry,
        Self::Kprobe,
        Self::RdonlyCast,
        Self::SK_DATA_READY,
        Self::SOCK_DEF_READABLE,
        Self::SUBFLOW_DATA_READY,
        Self::UDP_FAIL_QUEUE_RCV_SKB,
        Self::UdpRefusedDatagram,
        Self::UDP_ENQUEUE_SCHEDULE_SKB,
        Self::SCHED_PROCESS_EXIT,
        Self::SCHED_PROCESS_FORK,
        Self::SCHED_PROCESS_EXEC,
        Self::INET_SOCK_SET_STATE,
        Self::IO_URING_COMPLETE,
        Self::BPF_MAP_ELEM,
        Self::Members(Concern::Holders),
        Self::Members(Concern::Circumstances),
        Self::Members(Concern::Selection),
        Self::Members(Concern::Exit),
        Self::Members(Concern::Gauges),
        Self::Members(Concern::Connect),
        Self::Members(Concern::IoUring),
        Self::Members(Concern::Ways),
        Self::Members(Concern::Flows),
        Self::Members(Concern::Groups),
        Self::Members(Concern::GroupOrder),
        Self::Members(Concern::Creator),
        Self::Members(Concern::Multicast),
        Self::Members(Concern::Passing),
    ];

    pub(in crate::kernel) const SK_DATA_READY: Self = Self::of(&hooks::SK_DATA_READY);
    pub(in crate::kernel) const SOCK_DEF_READABLE: Self = Self::of(&hooks::SOCK_DEF_READABLE);
    pub(in crate::kernel) const SUBFLOW_DATA_READY: Self = Self::of(&hooks::SUBFLOW_DATA_READY);
    pub(in crate::kernel) const UDP_FAIL_QUEUE_RCV_SKB: Self = Self::of(&hooks::UDP_FAIL_QUEUE_RCV_SKB);
    pub(in crate::kernel) const UDP_ENQUEUE_SCHEDULE_SKB: Self = Self::of(&hooks::UDP_ENQUEUE_SCHEDULE_SKB);
    pub(in crate::kernel) const SCHED_PROCESS_EXIT: Self = Self::of(&hooks::SCHED_PROCESS_EXIT);
    pub(in crate::kernel) const SCHED_PROCESS_FORK: Self = Self::of(&hooks::SCHED_PROCESS_FORK);
    pub(in crate::kernel) const SCHED_PROCESS_EXEC: Self = Self::of(&hooks::SCHED_PROCESS_EXEC);
    pub(in crate::kernel) const INET_SOCK_SET_STATE: Self = Self::of(&hooks::INET_SOCK_SET_STATE);
    pub(in crate::kernel) const IO_URING_COMPLETE: Self = Self::of(&hooks::IO_URING_COMPLETE);
    pub(in crate::kernel) const BPF_MAP_ELEM: Self = Self::of(&hooks::BPF_MAP_ELEM);
    pub(in crate::kernel) const TASK_FILE: Self = Self::of(&hooks::TASK_FILE);

    /// A hook.
    pub(in crate::kernel) const fn of(hook: &Hook) -> Self {
        Self::Hook(hook.name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SyscallTracepoints => "syscall_tracepoints",
            Self::Cgroup => "cgroup",
            Self::BpfLoop => "bpf_loop",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::RdonlyCast => "rdonly_cast",
            Self::Hook(name) => name,
            Self::UdpRefusedDatagram => "udp_refused_datagram",
            Self::Members(concern) => match concern {
                Concern::All => "all_members",
                Concern::Optional => "optional_members",
                Concern::Holders => "holder_members",
                Concern::Circumstances => "circumstance_members",
                Concern::Selection => "selection_members",
                Concern::Exit => "exit_members",
                Concern::Gauges => "gauge_members",
                Concern::Connect => "connect_members",
                Concern::IoUring => "io_uring_members",
                Concern::Ways => "way_members",
                Concern::Flows => "flow_members",
                Concern::Groups => "group_members",
                Concern::GroupOrder => "group_order_members",
                Concern::Creator => "creator_members",
                Concern::Multicast => "multicast_members",
                Concern::Passing => "passing_members",
            },
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Capability {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str);
            format!("no such capability; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_own_and_leads_back() {
        for capability in Capability::ALL {
            assert_eq!(capability.as_str().parse(), Ok(capability));
        }
        let error = "bpf_lop".parse::<Capability>().expect_err("no such name");
        assert!(error.contains("bpf_loop, fentry"), "{error}");
    }
}
