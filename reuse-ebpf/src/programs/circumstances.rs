//! What is true of a caller that was refused, beyond its socket: which checks could have answered for other reasons than
//! a socket in the way.

use reuse_ebpf::{offsets::ABSENT, record::EvidenceRecord};

use super::{
    field::{is_there, offset, read},
    socket::{AF_INET, Copied, IPPROTO_MPTCP},
    task::Task,
    uid::uid_of,
    way::has_bind_hooks,
};

/// include/uapi/linux/capability.h
const CAP_NET_BIND_SERVICE: u32 = 10;
/// Namespaces that are looked through upwards. They may nest 32 deep (kernel/user_namespace.c); a network namespace so far
/// below its caller is looked at as one where the caller has no capability.
const NESTED: u32 = 6;

/// How the names of our programs on binds begin.
const OUR_NAME: u64 = u64::from_le_bytes(*b"reuse_\0\0");
const OUR_NAME_MASK: u64 = 0xffff_ffff_ffff;
/// Programs of ours in one array: as many as there are daemons.
const OURS_AT_MOST: u32 = 4;

/// Notes them.
///
/// # Safety
/// `to` must be valid for writes.
#[inline(always)]
pub(super) unsafe fn note<const TYPED: bool>(
    to: *mut EvidenceRecord,
    task: Task<TYPED>,
    sk: u64,
    protocol: u16,
    common: Copied,
) {
    if !is_there(offset!(net_unprivileged_port_start)) {
        return;
    }
    let net: u64 = common.at(offset!(sk_net));
    let subflow = subflow(sk, protocol);
    let holder = if subflow == 0 {
        sk
    } else {
        // SAFETY: promised by the caller.
        unsafe {
            (*to).has_subflow = 1;
            (*to).subflow_uid = uid_of(subflow);
        }
        subflow
    };
    let group: u64 = read(holder + offset!(sk_reuseport_cb) as u64);
    // SAFETY: promised by the caller.
    unsafe {
        (*to).has_circumstances = 1;
        (*to).seccomp = task.seccomp();
        (*to).cgroup_program = has_bind_program(task, common) as u8;
        (*to).may_bind_privileged = may_bind_privileged(task, net) as u8;
        (*to).unprivileged_port_start = read(net + offset!(net_unprivileged_port_start) as u64);
        if group != 0 {
            (*to).in_group = 1;
            let closed: u16 = read(group + offset!(group_closed) as u64);
            (*to).group_has_closed = (closed != 0) as u8;
        }
    }
}

/// The socket that asks for the port on behalf of an MPTCP socket: its first subflow (net/mptcp/protocol.c,
/// `__mptcp_nmpc_sk`). 0 where there is none yet; it is then made with what its parent has.
#[inline(always)]
fn subflow(sk: u64, protocol: u16) -> u64 {
    let first = offset!(mptcp_first);
    if protocol == IPPROTO_MPTCP && first as u32 != ABSENT { read(sk + first as u64) } else { 0 }
}

/// Whether a program is in force on binds of the socket's family, before or after the port is taken.
#[inline(always)]
fn has_bind_program<const TYPED: bool>(task: Task<TYPED>, common: Copied) -> bool {
    let cgroup = task.cgroup_address();
    let [before, after] = if common.anew::<u16>(offset!(sk_family)) == AF_INET {
        [offset!(cgroup_bind4), offset!(cgroup_post_bind4)]
    } else {
        [offset!(cgroup_bind6), offset!(cgroup_post_bind6)]
    };
    has_program(cgroup, before) || has_program(cgroup, after)
}

/// Whether the array of programs there has one that is not ours (include/linux/bpf.h, `bpf_prog_array`). Ours are told by
/// their names, whichever daemon they belong to: they decide nothing.
#[inline(always)]
fn has_program(cgroup: u64, at: usize) -> bool {
    if at as u32 == ABSENT || offset!(prog_array_items) as u32 == ABSENT {
        return false;
    }
    let programs: u64 = read(cgroup + at as u64);
    if programs == 0 {
        return false;
    }
    let mut item = programs + offset!(prog_array_items) as u64;
    if has_bind_hooks() && read::<u64>(item + offset!(prog_array_item_size) as u64) == 0 {
        // The only one is this daemon's.
        return false;
    }
    for _ in 0..OURS_AT_MOST {
        let program: u64 = read(item);
        if program == 0 {
            return false;
        }
        let more: u64 = read(program + offset!(prog_aux) as u64);
        let name: u64 = read(more + offset!(prog_name) as u64);
        if name & OUR_NAME_MASK != OUR_NAME {
            return true;
        }
        item += offset!(prog_array_item_size) as u64;
    }
    true
}

/// `ns_capable(net->user_ns, CAP_NET_BIND_SERVICE)`: the capability in that user namespace or in one it is nested in
/// (security/commoncap.c, `cap_capable`; the rule that a namespace's owner has all capabilities in it holds for a
/// process of the parent namespace, which is looked at as one that has none).
#[inline(always)]
fn may_bind_privileged<const TYPED: bool>(task: Task<TYPED>, net: u64) -> bool {
    let (capabilities, own) = task.capabilities();
    if capabilities >> CAP_NET_BIND_SERVICE & 1 == 0 {
        return false;
    }
    let mut namespace: u64 = read(net + offset!(net_user_ns) as u64);
    for _ in 0..NESTED {
        if namespace == own {
            return true;
        }
        if namespace == 0 || read::<u32>(namespace + offset!(user_ns_level) as u64) == 0 {
            return false;
        }
        namespace = read(namespace + offset!(user_ns_parent) as u64);
    }
    false
}
