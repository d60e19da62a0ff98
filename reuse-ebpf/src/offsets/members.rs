//! The members, grouped by structure.

use super::{Concern, Measure, Member};

offsets! {
    /// Open files of a task
    task_files: "task_struct.files", Bytes, All;
    /// What kind of task it is
    task_flags: "task_struct.flags", Bytes, Ways;
    /// Main thread of its process
    task_leader: "task_struct.group_leader", Bytes, Ways;
    /// Whether it is in a system call of the 32-bit kind, among others
    task_call_status: "task_struct.thread_info.status|task_struct.thread_info.flags", Bytes, Ways;
    /// Kernel stack of a task
    task_stack: "task_struct.stack", Bytes, All;
    /// Saved registers of a task, on kernels that have them at no fixed place (proposed for x86 in 2025)
    task_registers: "task_struct.thread_info.user_pt_regs", Bytes, Optional;
    /// What a task has of io_uring, null if nothing
    task_io_uring: "task_struct.io_uring", Bytes, Optional;
    /// Credentials of a task
    task_cred: "task_struct.cred", Bytes, All;
    /// Process id of a task
    task_tgid: "task_struct.tgid", Bytes, All;
    /// Thread id of a task
    task_pid: "task_struct.pid", Bytes, All;
    /// Namespaces of a task
    task_nsproxy: "task_struct.nsproxy", Bytes, All;
    /// Network namespace of those
    nsproxy_net: "nsproxy.net_ns", Bytes, All;
    /// cgroups of a task
    task_cgroups: "task_struct.cgroups", Bytes, All;
    /// The cgroup v2 one of those
    cgroups_default: "css_set.dfl_cgrp", Bytes, All;
    /// Its node
    cgroup_node: "cgroup.kn", Bytes, All;
    /// Whose number is the cgroup's id
    node_id: "kernfs_node.id", Bytes, All;
    /// Name of a task
    task_comm: "task_struct.comm", Bytes, All;
    /// What the threads of a process share
    task_signal: "task_struct.signal", Bytes, Exit;
    /// Threads of the process that have not exited
    signal_live: "signal_struct.live.counter", Bytes, Exit;
    /// Effective uid
    cred_euid: "cred.euid.val", Bytes, All;
    /// Descriptor table
    files_fdt: "files_struct.fdt", Bytes, All;
    /// Size of the descriptor table
    fdt_max: "fdtable.max_fds", Bytes, All;
    /// The array of files
    fdt_fd: "fdtable.fd", Bytes, All;
    /// A socket's `struct socket`
    file_private: "file.private_data", Bytes, All;
    /// Inode of a file
    file_inode: "file.f_inode", Bytes, All;
    /// Credentials that a file was opened with
    file_cred: "file.f_cred", Bytes, Creator;
    /// The uid of those that new files get
    cred_fsuid: "cred.fsuid.val", Bytes, Creator;
    /// File type
    inode_mode: "inode.i_mode", Bytes, All;
    /// Inode number
    inode_ino: "inode.i_ino", Bytes, All;
    /// Owner of an inode
    inode_uid: "inode.i_uid.val", Bytes, Optional;
    /// `struct socket` in its allocation
    alloc_socket: "socket_alloc.socket", Bytes, All;
    /// `struct inode` in the same allocation
    alloc_inode: "socket_alloc.vfs_inode", Bytes, All;
    /// `struct sock` of a socket
    socket_sk: "socket.sk", Bytes, All;
    /// Family
    sk_family: "sock_common.skc_family", Bytes, All;
    /// State
    sk_state: "sock_common.skc_state", Bytes, All;
    /// SO_REUSEPORT
    sk_reuseport: "sock_common.skc_reuseport", Bits, All;
    /// SO_BINDTODEVICE
    sk_bound_dev: "sock_common.skc_bound_dev_if", Bytes, All;
    /// Local port, host byte order
    sk_num: "sock_common.skc_num", Bytes, All;
    /// Local IPv4 address, network byte order
    sk_rcv_saddr: "sock_common.skc_rcv_saddr", Bytes, All;
    /// Local IPv6 address
    sk_v6_rcv_saddr: "sock_common.skc_v6_rcv_saddr", Bytes, All;
    /// Namespace
    sk_net: "sock_common.skc_net.net", Bytes, All;
    /// Cookie
    sk_cookie: "sock_common.skc_cookie.counter", Bytes, All;
    /// Owner
    sk_uid: "sock.sk_uid.val", Bytes, All;
    /// Protocol
    sk_protocol: "sock.sk_protocol", Bytes, All;
    /// Made by the kernel for itself
    sk_kern_sock: "sock.sk_kern_sock", Bits, Ways;
    /// Pending error
    sk_err: "sock.sk_err", Bytes, Connect;
    /// Directions that are shut down
    sk_shutdown: "sock.sk_shutdown", Bytes, Connect;
    /// Peer's IPv4 address, network byte order
    sk_daddr: "sock_common.skc_daddr", Bytes, Connect;
    /// Peer's IPv6 address
    sk_v6_daddr: "sock_common.skc_v6_daddr", Bytes, Connect;
    /// Peer's port, network byte order
    sk_dport: "sock_common.skc_dport", Bytes, Connect;
    /// First sequence number of a TCP socket, 0 until a connection begins
    tcp_write_seq: "tcp_sock.write_seq", Bytes, Connect;
    /// A TCP socket that belongs to an MPTCP socket; absent in kernels without MPTCP
    tcp_is_mptcp: "tcp_sock.is_mptcp", Bits, Optional;
    /// TCP_REPAIR
    tcp_repair: "tcp_sock.repair", Bits, Optional;
    /// What the upper protocol keeps of a TCP socket: MPTCP its subflow
    csk_ulp_data: "inet_connection_sock.icsk_ulp_data", Bytes, Optional;
    /// MPTCP socket of a subflow
    subflow_parent: "mptcp_subflow_context.conn", Bytes, Optional;
    /// Timer that runs for a TCP socket
    csk_pending: "inet_connection_sock.icsk_pending", Bytes, Connect;
    /// Operation of an io_uring request
    request_opcode: "io_kiocb.opcode", Bytes, IoUring;
    /// File of an io_uring request
    request_file: "io_kiocb.file", Bytes, IoUring;
    /// Result of an io_uring request
    request_result: "io_kiocb.cqe.res", Bytes, IoUring;
    /// Back to `struct socket`, null for orphans
    sk_socket: "sock.sk_socket", Bytes, All;
    /// SO_REUSEPORT group
    sk_reuseport_cb: "sock.sk_reuseport_cb", Bytes, All;
    /// `SOCK_BINDPORT_LOCK` and its siblings
    sk_userlocks: "sock.sk_userlocks", Bits, All;
    /// Dropped packets
    sk_drops: "sock.sk_drops.counter", Bytes, Gauges;
    /// Dropped packets counted by NUMA node (6.18: include/net/sock.h, `sk_drop_counters`)
    sk_drop_counters: "sock.sk_drop_counters", Bytes, Optional;
    /// First of two counters
    drop_counters_0: "numa_drop_counters.drops0.counter", Bytes, Optional;
    /// Second of two counters
    drop_counters_1: "numa_drop_counters.drops1.counter", Bytes, Optional;
    /// Connections waiting for accept
    sk_ack_backlog: "sock.sk_ack_backlog", Bytes, Gauges;
    /// Most that may wait
    sk_max_ack_backlog: "sock.sk_max_ack_backlog", Bytes, Gauges;
    /// Receive memory in use
    sk_rmem_alloc: "sock.sk_backlog.rmem_alloc.counter", Bytes, Gauges;
    /// Receive memory allowed
    sk_rcvbuf: "sock.sk_rcvbuf", Bytes, Gauges;
    /// Receive queue
    sk_receive_queue: "sock.sk_receive_queue", Bytes, Selection;
    /// Newest buffer of a queue
    queue_prev: "sk_buff_head.prev", Bytes, Selection;
    /// IP-level options: one word since 6.6, bit-fields before
    inet_flags: "inet_sock.inet_flags|inet_sock.freebind", Bytes, All;
    /// IPv4 multicast groups that a socket joined
    inet_groups: "inet_sock.mc_list", Bytes, Multicast;
    /// Next of those
    group4_next: "ip_mc_socklist.next_rcu", Bytes, Multicast;
    /// Address of one
    group4_address: "ip_mc_socklist.multi.imr_multiaddr", Bytes, Multicast;
    /// What a socket has of IPv6; absent in kernels without
    inet_v6: "inet_sock.pinet6", Bytes, Optional;
    /// IPv6 multicast groups that it joined
    v6_groups: "ipv6_pinfo.ipv6_mc_list", Bytes, Optional;
    /// Next of those
    group6_next: "ipv6_mc_socklist.next", Bytes, Optional;
    /// Address of one
    group6_address: "ipv6_mc_socklist.addr", Bytes, Optional;
    /// Inode number of a namespace
    net_inum: "net.ns.inum", Bytes, All;
    /// Number of a namespace that no other ever has, since 5.12
    net_cookie: "net.net_cookie", Bytes, Optional;
    /// Devices of a namespace by index
    net_dev_index: "net.dev_index_head", Bytes, All;
    /// The loopback device of a namespace
    net_loopback: "net.loopback_dev", Bytes, Selection;
    /// Link in that table
    device_index_link: "net_device.index_hlist", Bytes, All;
    /// Index
    device_index: "net_device.ifindex", Bytes, All;
    /// Name
    device_name: "net_device.name", Bytes, All;
    /// IPv4 state of a device
    device_ip: "net_device.ip_ptr", Bytes, Selection;
    /// Its addresses
    in_device_list: "in_device.ifa_list", Bytes, Selection;
    /// Next address
    ifa_next: "in_ifaddr.ifa_next", Bytes, Selection;
    /// Address of the network
    ifa_address: "in_ifaddr.ifa_address", Bytes, Selection;
    /// Mask of the network
    ifa_mask: "in_ifaddr.ifa_mask", Bytes, Selection;
    /// Messages that wait in it
    queue_length: "sk_buff_head.qlen", Bytes, Passing;
    /// What a protocol keeps of a buffer
    skb_cb: "sk_buff.cb", Bytes, Passing;
    /// AF_UNIX: the files in a message, in that place
    message_files: "unix_skb_parms.fp", Bytes, Passing;
    /// How many
    files_count: "scm_fp_list.count", Bytes, Passing;
    /// The files themselves
    files_first: "scm_fp_list.fp", Bytes, Passing;
    /// Packet buffer
    skb_head: "sk_buff.head", Bytes, Selection;
    /// Offset of the IP header
    skb_network_header: "sk_buff.network_header", Bytes, Selection;
    /// `PACKET_HOST` and its siblings, a bit-field of three
    skb_pkt_type: "sk_buff.pkt_type", Bits, Selection;
    /// Offset of the transport header
    skb_transport_header: "sk_buff.transport_header", Bytes, Flows;
    /// Offset of what packets in one buffer share
    skb_end: "sk_buff.end", Bytes, Flows;
    /// How many packets a buffer stands for
    shared_gso_segs: "skb_shared_info.gso_segs", Bytes, Flows;
    /// UDP_GRO: a bit of a word since 6.7, a bit-field before
    udp_gro: "udp_sock.udp_flags[UDP_FLAGS_GRO_ENABLED]|udp_sock.gro_enabled", Flag, Flows;
    /// Connection that was queued last at a listener
    csk_accept_tail: "inet_connection_sock.icsk_accept_queue.rskq_accept_tail", Bytes, Optional;
    /// The socket of such a connection
    request_sk: "request_sock.sk", Bytes, Optional;
    /// When a connection sent or received last, microseconds
    tcp_mstamp: "tcp_sock.tcp_mstamp", Bytes, Optional;
    /// Members of a group that can be picked
    group_members: "sock_reuseport.num_socks", Bytes, Groups;
    /// A member is or was connected
    group_has_conns: "sock_reuseport.has_conns", Bits, Groups;
    /// Program that picks
    group_program: "sock_reuseport.prog", Bytes, Groups;
    /// What kind of program
    program_type: "bpf_prog.type", Bytes, Groups;
    /// SO_INCOMING_CPU of a socket
    sk_incoming_cpu: "sock.__sk_common.skc_incoming_cpu", Bytes, Groups;
    /// Members that have it; absent where the choice within a group does not heed it
    group_incoming_cpu: "sock_reuseport.incoming_cpu", Bytes, Optional;
    /// The members in order
    group_sockets: "sock_reuseport.socks", Bytes, GroupOrder;
    /// Seccomp mode of a task
    task_seccomp: "task_struct.seccomp.mode", Bytes, Optional;
    /// BPF programs in force on IPv4 binds of a cgroup
    cgroup_bind4: "cgroup.bpf.effective[CGROUP_INET4_BIND]", Bytes, Optional;
    /// The same on IPv6 binds
    cgroup_bind6: "cgroup.bpf.effective[CGROUP_INET6_BIND]", Bytes, Optional;
    /// The same once the port is taken, IPv4
    cgroup_post_bind4: "cgroup.bpf.effective[CGROUP_INET4_POST_BIND]", Bytes, Optional;
    /// The same, IPv6
    cgroup_post_bind6: "cgroup.bpf.effective[CGROUP_INET6_POST_BIND]", Bytes, Optional;
    /// Those programs
    prog_array_items: "bpf_prog_array.items", Bytes, Optional;
    /// Size of one of them
    prog_array_item_size: "bpf_prog_array_item", Size, Optional;
    /// More about a program
    prog_aux: "bpf_prog.aux", Bytes, Optional;
    /// Its name
    prog_name: "bpf_prog_aux.name", Bytes, Optional;
    /// Effective capabilities
    cred_capabilities: "cred.cap_effective", Bytes, Circumstances;
    /// User namespace of the credentials
    cred_user_ns: "cred.user_ns", Bytes, Circumstances;
    /// Depth of a user namespace
    user_ns_level: "user_namespace.level", Bytes, Circumstances;
    /// Parent of a user namespace
    user_ns_parent: "user_namespace.parent", Bytes, Circumstances;
    /// User namespace that owns a network namespace
    net_user_ns: "net.user_ns", Bytes, Circumstances;
    /// First port that needs no privilege
    net_unprivileged_port_start: "net.ipv4.sysctl_ip_prot_sock", Bytes, Circumstances;
    /// What the namespace mixes into its hashes
    net_hash_mix: "net.hash_mix", Bytes, Holders;
    /// TCP's tables, where the namespace has them in place (6.2 and later)
    net_hashinfo: "net.ipv4.tcp_death_row.hashinfo", Bytes, Optional;
    /// What leads to them where it has not
    net_death_row: "net.ipv4.tcp_death_row", Bytes, Holders;
    /// TCP's tables
    death_row_hashinfo: "inet_timewait_death_row.hashinfo", Bytes, Holders;
    /// UDP's table of the namespace (6.2 and later)
    net_udp_table: "net.ipv4.udp_table", Bytes, Optional;
    /// Operations of a socket's protocol
    sk_prot: "sock_common.skc_prot", Bytes, Holders;
    /// UDP's table, where the protocol has one for all namespaces
    prot_udp_table: "proto.h", Bytes, Holders;
    /// Link in a bucket's list of owners
    sk_bind_node: "sock_common.skc_bind_node", Bytes, Holders;
    /// Link in a chain of listeners, or in a slot of UDP
    sk_node: "sock_common.skc_node", Bytes, Holders;
    /// Link in a slot of UDP's table of addresses
    sk_portaddr_node: "sock_common.skc_portaddr_node", Bytes, Holders;
    /// Bits of SO_REUSEADDR and its neighbours
    sk_reuse: "sock_common.skc_reuse", Bits, All;
    /// Inode number kept in the socket itself (6.18)
    sk_ino: "sock.sk_ino", Bytes, Optional;
    /// Members of a group that were closed
    group_closed: "sock_reuseport.num_closed_socks", Bytes, Circumstances;
    /// `struct sock *` of the first subflow; absent in kernels without MPTCP
    mptcp_first: "mptcp_sock.first", Bytes, Optional;
    /// When TIME_WAIT ends, ticks
    time_wait_expires: "inet_timewait_sock.tw_timer.expires", Bytes, Holders;
    /// TCP's table of ports
    hashinfo_bhash: "inet_hashinfo.bhash", Bytes, Holders;
    /// Its size
    hashinfo_bhash_size: "inet_hashinfo.bhash_size", Bytes, Holders;
    /// TCP's table of listeners by address and port
    hashinfo_lhash2: "inet_hashinfo.lhash2", Bytes, Holders;
    /// Its size less one
    hashinfo_lhash2_mask: "inet_hashinfo.lhash2_mask", Bytes, Holders;
    /// Size of a slot of the table of ports
    bhash_slot_size: "inet_bind_hashbucket", Size, Holders;
    /// Chain of such a slot
    bhash_slot_chain: "inet_bind_hashbucket.chain", Bytes, Holders;
    /// Size of a slot of the table of listeners
    lhash2_slot_size: "inet_listen_hashbucket", Size, Holders;
    /// Chain of such a slot
    lhash2_slot_head: "inet_listen_hashbucket.nulls_head", Bytes, Holders;
    /// Namespace of a bucket
    bucket_net: "inet_bind_bucket.ib_net.net", Bytes, Holders;
    /// L3 master device of a bucket
    bucket_l3mdev: "inet_bind_bucket.l3mdev", Bytes, Holders;
    /// Port of a bucket
    bucket_port: "inet_bind_bucket.port", Bytes, Holders;
    /// `fastreuse`
    bucket_fastreuse: "inet_bind_bucket.fastreuse", Bytes, Holders;
    /// `fastreuseport`
    bucket_fastreuseport: "inet_bind_bucket.fastreuseport", Bytes, Holders;
    /// `fastuid`
    bucket_fastuid: "inet_bind_bucket.fastuid", Bytes, Holders;
    /// `fast_v6_rcv_saddr`
    bucket_fast_v6_rcv_saddr: "inet_bind_bucket.fast_v6_rcv_saddr", Bytes, Holders;
    /// `fast_rcv_saddr`
    bucket_fast_rcv_saddr: "inet_bind_bucket.fast_rcv_saddr", Bytes, Holders;
    /// `fast_sk_family`
    bucket_fast_family: "inet_bind_bucket.fast_sk_family", Bytes, Holders;
    /// `fast_ipv6_only`
    bucket_fast_v6only: "inet_bind_bucket.fast_ipv6_only", Bytes, Holders;
    /// Link of a bucket
    bucket_node: "inet_bind_bucket.node", Bytes, Holders;
    /// The bucket's addresses, each with its owners (6.8 and later)
    bucket_addresses: "inet_bind_bucket.bhash2", Bytes, Optional;
    /// The bucket's owners, where they hang on itself (before 6.8)
    bucket_owners: "inet_bind_bucket.owners", Bytes, Optional;
    /// Link of an address in its bucket
    address_node: "inet_bind2_bucket.bhash_node", Bytes, Optional;
    /// Owners of an address
    address_owners: "inet_bind2_bucket.owners", Bytes, Optional;
    /// Family of the socket that made the bucket of an address (before 6.8)
    address_family: "inet_bind2_bucket.family", Bytes, Optional;
    /// The bucket of a TCP socket's address (6.1 and later)
    sk_address_bucket: "inet_connection_sock.icsk_bind2_hash", Bytes, Optional;
    /// UDP: the table of ports
    udp_hash: "udp_table.hash", Bytes, Holders;
    /// UDP: the table of addresses
    udp_hash2: "udp_table.hash2", Bytes, Holders;
    /// UDP: the size of both less one
    udp_mask: "udp_table.mask", Bytes, Holders;
    /// UDP: size of a slot of the table of ports
    udp_slot_size: "udp_hslot", Size, Holders;
    /// UDP: size of a slot of the table of addresses (larger since 6.13)
    udp_slot2_size: "udp_hslot_main|udp_hslot", Size, Holders;
    /// UDP: sockets in a slot
    udp_slot_count: "udp_hslot.count", Bytes, Holders;
}

// SAFETY: `repr(C)`, `u32` only, size asserted above, any bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Offsets {}
