//! Every typed place in the kernel that a program is attached to, declared once: its name and the types of the arguments
//! that are read, as BTF shows them.
//!
//! The verifier takes a program's word for what an argument is only as far as its type goes: a prototype that changed
//! would be read wrongly, or not be taken. The daemon compares each with the kernel's before it attaches anything.

/// What kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A tracepoint: BTF has its prototype behind the type `btf_trace_NAME`
    Tracepoint,
    /// A function: its entry, or its end
    Function,
    /// An iterator: the arguments are the members of its context, those of the function `bpf_iter_NAME`
    Iterator,
}

/// The arguments in order, as far as they are read; there may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// Types, as BTF shows them
    pub arguments: &'static [&'static str],
    /// The first kernel that has it
    pub since: &'static str,
}

/// A place in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Kind
    pub place: Place,
    /// Name
    pub name: &'static str,
    /// What it may look like, the newest first
    pub prototypes: &'static [Prototype],
}

macro_rules! hooks {
    ($($(#[$doc:meta])* $hook:ident: $place:ident $name:literal, $([$($argument:literal),*] since $since:literal),+;)*) => {
        $(
            $(#[$doc])*
            pub const $hook: Hook = Hook {
                place: Place::$place,
                name: $name,
                prototypes: &[$(Prototype { arguments: &[$($argument),*], since: $since }),+],
            };
        )*

        /// All of them.
        pub const ALL: &[Hook] = &[$($hook),*];
    };
}

hooks! {
    /// A socket is woken, include/trace/events/sock.h
    SK_DATA_READY: Tracepoint "sk_data_ready", ["const struct sock *"] since "6.3";
    /// Wakes the sockets of TCP and UDP, net/core/sock.c
    SOCK_DEF_READABLE: Function "sock_def_readable", ["struct sock *"] since "2.6";
    /// Wakes the subflows of MPTCP, net/mptcp/subflow.c
    SUBFLOW_DATA_READY: Function "subflow_data_ready", ["struct sock *"] since "5.6";
    /// A datagram found the buffer full, include/trace/events/udp.h
    UDP_FAIL_QUEUE_RCV_SKB: Tracepoint "udp_fail_queue_rcv_skb",
        ["int", "struct sock *", "struct sk_buff *"] since "6.10",
        ["int", "struct sock *"] since "3.2";
    /// Queues a datagram or refuses it, net/ipv4/udp.c: its end, where the result stands after the arguments
    UDP_ENQUEUE_SCHEDULE_SKB: Function "__udp_enqueue_schedule_skb", ["struct sock *", "struct sk_buff *"] since "4.10";
    /// A thread ends, include/trace/events/sched.h
    SCHED_PROCESS_EXIT: Tracepoint "sched_process_exit", ["struct task_struct *"] since "2.6";
    /// A task is made, include/trace/events/sched.h
    SCHED_PROCESS_FORK: Tracepoint "sched_process_fork",
        ["struct task_struct *", "struct task_struct *"] since "2.6";
    /// A process runs another program, include/trace/events/sched.h
    SCHED_PROCESS_EXEC: Tracepoint "sched_process_exec", ["struct task_struct *"] since "3.4";
    /// A TCP socket changes its state, include/trace/events/sock.h
    INET_SOCK_SET_STATE: Tracepoint "inet_sock_set_state",
        ["const struct sock *", "const int", "const int"] since "4.16";
    /// A request of io_uring is done, include/trace/events/io_uring.h
    IO_URING_COMPLETE: Tracepoint "io_uring_complete",
        ["struct io_ring_ctx *", "void *", "struct io_uring_cqe *"] since "6.13",
        ["void *", "void *"] since "5.19";
    /// Every descriptor of every process, kernel/bpf/task_iter.c
    TASK_FILE: Iterator "task_file",
        ["struct bpf_iter_meta *", "struct task_struct *", "u32", "struct file *"] since "5.8";
    /// Every element of a map, kernel/bpf/map_iter.c
    BPF_MAP_ELEM: Iterator "bpf_map_elem",
        ["struct bpf_iter_meta *", "struct bpf_map *", "void *", "void *"] since "5.9";
}
