//! Every member of a kernel structure that the programs read, declared once: name, path and whether it may be missing.
//!
//! rustc emits no CO-RE relocations, so the daemon looks the paths up in the kernel's BTF and hands the offsets over as
//! one frozen global. The verifier takes them for constants.

/// Value of an optional member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// How a member is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Bytes from the start of the structure
    Bytes,
    /// Bits from the start of the structure (bit-fields)
    Bits,
}

/// Where a member is found in BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// `struct.member[.member..]`; unnamed members in between need no mention. Alternatives in order, separated by `|`.
    pub path: &'static str,
    /// Unit
    pub measure: Measure,
    /// The programs do without it ([`ABSENT`])
    pub optional: bool,
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $path:literal, $measure:ident, $optional:literal;)*) => {
        /// Offsets of this kernel.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl Offsets {
            /// Number of members.
            pub const LEN: usize = [$(stringify!($field)),*].len();

            /// Placeholder until the daemon overrides it.
            pub const UNSET: Self = Self { $($field: 0,)* };

            /// Where each field is looked up, in the order of the fields.
            pub const MEMBERS: [Member; Self::LEN] = [
                $(Member { path: $path, measure: Measure::$measure, optional: $optional },)*
            ];

            /// The fields in the order of [`Self::MEMBERS`].
            #[must_use]
            pub const fn from_array([$($field),*]: [u32; Self::LEN]) -> Self {
                Self { $($field,)* }
            }
        }
        const _: () = assert!(size_of::<Offsets>() == 4 * Offsets::LEN);
    };
}

offsets! {
    /// Open files of a task
    task_files: "task_struct.files", Bytes, false;
    /// Credentials of a task
    task_cred: "task_struct.cred", Bytes, false;
    /// Process id of a task
    task_tgid: "task_struct.tgid", Bytes, false;
    /// Thread id of a task
    task_pid: "task_struct.pid", Bytes, false;
    /// Namespaces of a task
    task_nsproxy: "task_struct.nsproxy", Bytes, false;
    /// Network namespace of those
    nsproxy_net: "nsproxy.net_ns", Bytes, false;
    /// cgroups of a task
    task_cgroups: "task_struct.cgroups", Bytes, false;
    /// The cgroup v2 one of those
    cgroups_default: "css_set.dfl_cgrp", Bytes, false;
    /// Its node
    cgroup_node: "cgroup.kn", Bytes, false;
    /// Whose number is the cgroup's id
    node_id: "kernfs_node.id", Bytes, false;
    /// Name of a task
    task_comm: "task_struct.comm", Bytes, false;
    /// What the threads of a process share
    task_signal: "task_struct.signal", Bytes, false;
    /// Threads of the process that have not exited
    signal_live: "signal_struct.live.counter", Bytes, false;
    /// Effective uid
    cred_euid: "cred.euid.val", Bytes, false;
    /// Descriptor table
    files_fdt: "files_struct.fdt", Bytes, false;
    /// Size of the descriptor table
    fdt_max: "fdtable.max_fds", Bytes, false;
    /// The array of files
    fdt_fd: "fdtable.fd", Bytes, false;
    /// A socket's `struct socket`
    file_private: "file.private_data", Bytes, false;
    /// Inode of a file
    file_inode: "file.f_inode", Bytes, false;
    /// File type
    inode_mode: "inode.i_mode", Bytes, false;
    /// Inode number
    inode_ino: "inode.i_ino", Bytes, false;
    /// `struct socket` in its allocation
    alloc_socket: "socket_alloc.socket", Bytes, false;
    /// `struct inode` in the same allocation
    alloc_inode: "socket_alloc.vfs_inode", Bytes, false;
    /// `struct sock` of a socket
    socket_sk: "socket.sk", Bytes, false;
    /// Family
    sk_family: "sock_common.skc_family", Bytes, false;
    /// State
    sk_state: "sock_common.skc_state", Bytes, false;
    /// SO_REUSEPORT
    sk_reuseport: "sock_common.skc_reuseport", Bits, false;
    /// SO_BINDTODEVICE
    sk_bound_dev: "sock_common.skc_bound_dev_if", Bytes, false;
    /// Local port, host byte order
    sk_num: "sock_common.skc_num", Bytes, false;
    /// Local IPv4 address, network byte order
    sk_rcv_saddr: "sock_common.skc_rcv_saddr", Bytes, false;
    /// Local IPv6 address
    sk_v6_rcv_saddr: "sock_common.skc_v6_rcv_saddr", Bytes, false;
    /// Namespace
    sk_net: "sock_common.skc_net.net", Bytes, false;
    /// Cookie
    sk_cookie: "sock_common.skc_cookie.counter", Bytes, false;
    /// Owner
    sk_uid: "sock.sk_uid.val", Bytes, false;
    /// Protocol
    sk_protocol: "sock.sk_protocol", Bytes, false;
    /// Back to `struct socket`, null for orphans
    sk_socket: "sock.sk_socket", Bytes, false;
    /// SO_REUSEPORT group
    sk_reuseport_cb: "sock.sk_reuseport_cb", Bytes, false;
    /// `SOCK_BINDPORT_LOCK` and its siblings
    sk_userlocks: "sock.sk_userlocks", Bits, false;
    /// Dropped packets
    sk_drops: "sock.sk_drops.counter", Bytes, false;
    /// Dropped packets counted by NUMA node (6.18: include/net/sock.h, `sk_drop_counters`)
    sk_drop_counters: "sock.sk_drop_counters", Bytes, true;
    /// First of two counters
    drop_counters_0: "numa_drop_counters.drops0.counter", Bytes, true;
    /// Second of two counters
    drop_counters_1: "numa_drop_counters.drops1.counter", Bytes, true;
    /// Connections waiting for accept
    sk_ack_backlog: "sock.sk_ack_backlog", Bytes, false;
    /// Most that may wait
    sk_max_ack_backlog: "sock.sk_max_ack_backlog", Bytes, false;
    /// Receive memory in use
    sk_rmem_alloc: "sock.sk_backlog.rmem_alloc.counter", Bytes, false;
    /// Receive memory allowed
    sk_rcvbuf: "sock.sk_rcvbuf", Bytes, false;
    /// Receive queue
    sk_receive_queue: "sock.sk_receive_queue", Bytes, false;
    /// Newest buffer of a queue
    queue_prev: "sk_buff_head.prev", Bytes, false;
    /// IP-level options: one word since 6.6, bit-fields before
    inet_flags: "inet_sock.inet_flags|inet_sock.freebind", Bytes, false;
    /// Inode number of a namespace
    net_inum: "net.ns.inum", Bytes, false;
    /// Devices of a namespace by index
    net_dev_index: "net.dev_index_head", Bytes, false;
    /// The loopback device of a namespace
    net_loopback: "net.loopback_dev", Bytes, false;
    /// Link in that table
    device_index_link: "net_device.index_hlist", Bytes, false;
    /// Index
    device_index: "net_device.ifindex", Bytes, false;
    /// Name
    device_name: "net_device.name", Bytes, false;
    /// IPv4 state of a device
    device_ip: "net_device.ip_ptr", Bytes, false;
    /// Its addresses
    in_device_list: "in_device.ifa_list", Bytes, false;
    /// Next address
    ifa_next: "in_ifaddr.ifa_next", Bytes, false;
    /// Address of the network
    ifa_address: "in_ifaddr.ifa_address", Bytes, false;
    /// Mask of the network
    ifa_mask: "in_ifaddr.ifa_mask", Bytes, false;
    /// Packet buffer
    skb_head: "sk_buff.head", Bytes, false;
    /// Offset of the IP header
    skb_network_header: "sk_buff.network_header", Bytes, false;
    /// `PACKET_HOST` and its siblings, a bit-field of three
    skb_pkt_type: "sk_buff.pkt_type", Bits, false;
}

// SAFETY: `repr(C)`, `u32` only, size asserted above, any bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Offsets {}
