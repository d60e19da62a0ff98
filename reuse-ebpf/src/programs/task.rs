//! The calling task: plain loads from its structures, which cost a fraction of the helpers that give the same.

use aya_ebpf::{cty::c_void, helpers::generated::bpf_get_current_task_btf};
use reuse_ebpf::{offsets::ABSENT, record::COMM};

use super::field::{load, offset};

/// The task that runs the program, typed for the verifier.
#[derive(Clone, Copy)]
pub(crate) struct Task(*const u8);

impl Task {
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: a helper without arguments.
        Self(unsafe { bpf_get_current_task_btf() }.cast::<u8>())
    }

    /// A task that came as a typed argument.
    #[inline(always)]
    pub(crate) fn from_argument(task: *const u8) -> Self {
        Self(task)
    }

    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *mut c_void {
        self.0.cast_mut().cast()
    }

    /// Process id in the initial pid namespace.
    #[inline(always)]
    pub(crate) fn pid(self) -> u32 {
        // SAFETY: a BTF member of the task.
        unsafe { load(self.0, offset!(task_tgid)) }
    }

    /// Thread id in the initial pid namespace.
    #[inline(always)]
    pub(crate) fn tid(self) -> u32 {
        // SAFETY: as above.
        unsafe { load(self.0, offset!(task_pid)) }
    }

    /// Name, whole.
    #[inline(always)]
    pub(crate) fn comm(self) -> [u64; COMM / 8] {
        // SAFETY: as above; the name is COMM bytes.
        unsafe { [load(self.0, offset!(task_comm)), load(self.0, offset!(task_comm) + 8)] }
    }

    /// Effective uid in the initial user namespace.
    #[inline(always)]
    pub(crate) fn euid(self) -> u32 {
        // SAFETY: as above, and of its credentials.
        unsafe {
            let cred: *const u8 = load(self.0, offset!(task_cred));
            load(cred, offset!(cred_euid))
        }
    }

    /// Whether a seccomp filter sees its system calls: 2, or 1 in strict mode.
    #[inline(always)]
    pub(crate) fn seccomp(self) -> u8 {
        if offset!(task_seccomp) as u32 == ABSENT {
            return 0;
        }
        // SAFETY: a BTF member of the task; the mode is an integer of which the low byte holds every value.
        unsafe { load(self.0, offset!(task_seccomp)) }
    }

    /// Its cgroup v2 group, as a number.
    #[inline(always)]
    pub(crate) fn cgroup_address(self) -> u64 {
        // SAFETY: as above, and of what it points to.
        unsafe {
            let groups: *const u8 = load(self.0, offset!(task_cgroups));
            load(groups, offset!(cgroups_default))
        }
    }

    /// Low word of its effective capabilities, and the user namespace they hold in, as a number.
    #[inline(always)]
    pub(crate) fn capabilities(self) -> (u32, u64) {
        // SAFETY: as above.
        unsafe {
            let cred: *const u8 = load(self.0, offset!(task_cred));
            (load(cred, offset!(cred_capabilities)), load(cred, offset!(cred_user_ns)))
        }
    }

    /// Id of its cgroup v2 group.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> u64 {
        // SAFETY: as above, and of what they point to.
        unsafe {
            let groups: *const u8 = load(self.0, offset!(task_cgroups));
            let default: *const u8 = load(groups, offset!(cgroups_default));
            let node: *const u8 = load(default, offset!(cgroup_node));
            load(node, offset!(node_id))
        }
    }

    /// Its network namespace: `struct net *` and inode number. A task that is exiting has none.
    #[inline(always)]
    pub(crate) fn netns(self) -> (u64, u32) {
        // SAFETY: as above; the verifier knows that a load through a null pointer gives zero.
        unsafe {
            let proxy: *const u8 = load(self.0, offset!(task_nsproxy));
            let net: *const u8 = load(proxy, offset!(nsproxy_net));
            (net as u64, load(net, offset!(net_inum)))
        }
    }

    /// Number of descriptors its table has room for, and the address of the array of files.
    #[inline(always)]
    pub(crate) fn descriptors(self) -> (u32, u64) {
        // SAFETY: as above.
        unsafe {
            let files: *const u8 = load(self.0, offset!(task_files));
            let table: *const u8 = load(files, offset!(files_fdt));
            (load(table, offset!(fdt_max)), load(table, offset!(fdt_fd)))
        }
    }
}
