//! What this kernel offers, found out once by looking; whether it also lets us is found out when attaching.

use std::path::PathBuf;

use super::{btf::Btf, cgroup, tracefs};

/// What matters for the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `syscalls:sys_exit_bind` and `_listen` exist in tracefs
    pub syscall_tracepoints: bool,
    /// `sock:sk_data_ready` (6.3)
    pub data_ready_tracepoint: bool,
    /// `sock_def_readable` can be named for an entry trampoline
    pub readable_function: bool,
    /// `subflow_data_ready` likewise; absent without MPTCP
    pub subflow_function: bool,
    /// `udp:udp_fail_queue_rcv_skb`
    pub udp_drop_tracepoint: bool,
    /// It shows the datagram (6.10)
    pub udp_drop_shows_datagram: bool,
    /// `sched:sched_process_exit`
    pub exit_tracepoint: bool,
    /// `sock:inet_sock_set_state`
    pub state_tracepoint: bool,
    /// io_uring can bind and listen (6.11)
    pub io_uring_bind: bool,
    /// `io_uring:io_uring_complete`
    pub io_uring_tracepoint: bool,
    /// Root of the cgroup v2 hierarchy
    pub cgroup: Option<PathBuf>,
}

impl Capabilities {
    /// Looks at the running kernel.
    #[must_use]
    pub fn of_running_kernel(btf: &Btf<'_>) -> Self {
        let udp_drop_arguments = btf.tracepoint_arguments("udp_fail_queue_rcv_skb");
        Self {
            syscall_tracepoints: tracefs::has_event("syscalls", "sys_exit_bind"),
            data_ready_tracepoint: btf.tracepoint_arguments("sk_data_ready").is_some(),
            readable_function: btf.has_function("sock_def_readable"),
            subflow_function: btf.has_function("subflow_data_ready"),
            udp_drop_tracepoint: udp_drop_arguments.is_some(),
            udp_drop_shows_datagram: udp_drop_arguments.is_some_and(|arguments| arguments >= 3),
            exit_tracepoint: btf.tracepoint_arguments("sched_process_exit").is_some(),
            state_tracepoint: btf.tracepoint_arguments("inet_sock_set_state").is_some(),
            io_uring_bind: btf.enumerator("IORING_OP_BIND").is_some(),
            io_uring_tracepoint: btf.tracepoint_arguments("io_uring_complete").is_some(),
            cgroup: cgroup::root(),
        }
    }
}
