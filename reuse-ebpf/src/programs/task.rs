//! The calling task: plain loads from its structures, which cost a fraction of the helpers that give the same.
//!
//! Such loads are dear to verify, though: at each one that gives a pointer the verifier searches the kernel's types by name
//! up to four times (kernel/bpf/verifier.c, `type_is_rcu` and its like), a tenth of a millisecond a search, and again on each
//! way that leads there. Where there is a cast, pointers are read by it. Else a program does them before its ways part, and what
//! runs seldom reads through the helper instead.

use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs,
};
use reuse_ebpf::{offsets::ABSENT, record::COMM};

use super::{
    arch::{COMPAT, NUMBER, is_running},
    field::{View, address_of, is_there, load, offset, read},
    registers::Registers,
};
use crate::CASTS;

/// The task that runs the program: typed for the verifier, or a mere address.
#[derive(Clone, Copy)]
pub(crate) struct Task<const TYPED: bool = true>(*const u8);

impl Task<false> {
    /// The task as an address.
    #[inline(always)]
    pub(crate) fn current_address() -> Self {
        // SAFETY: a helper without arguments.
        Self(unsafe { bpf_get_current_task() } as *const u8)
    }
}

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
}

impl<const TYPED: bool> Task<TYPED> {
    /// A pointer of the task's, or a member of a structure that it leads to.
    ///
    /// # Safety
    /// As [`load`].
    #[inline(always)]
    unsafe fn at<T: Copy>(base: *const u8, offset: usize) -> T {
        if TYPED && !CASTS {
            // SAFETY: promised by the caller.
            unsafe { load(base, offset) }
        } else {
            read(base as u64 + offset as u64)
        }
    }

    /// A number of the task's own: cheap to verify, and cheaper to load than by a cast.
    ///
    /// # Safety
    /// As [`load`].
    #[inline(always)]
    unsafe fn number<T: Copy>(self, offset: usize) -> T {
        if TYPED {
            // SAFETY: promised by the caller.
            unsafe { load(self.0, offset) }
        } else {
            read(self.0 as u64 + offset as u64)
        }
    }

    #[inline(always)]
    fn address(self) -> u64 {
        if TYPED { address_of(self.0) } else { self.0 as u64 }
    }

    /// Process id in the initial pid namespace.
    #[inline(always)]
    pub(crate) fn pid(self) -> u32 {
        // SAFETY: a BTF member of the task.
        unsafe { self.number(offset!(task_tgid)) }
    }

    /// Thread id in the initial pid namespace.
    #[inline(always)]
    pub(crate) fn tid(self) -> u32 {
        // SAFETY: as above.
        unsafe { self.number(offset!(task_pid)) }
    }

    /// `PF_KTHREAD` and its siblings (include/linux/sched.h).
    #[inline(always)]
    pub(crate) fn flags(self) -> u32 {
        // SAFETY: as above.
        unsafe { self.number(offset!(task_flags)) }
    }

    /// Whether it ever used io_uring; not known on kernels that keep that elsewhere.
    #[inline(always)]
    pub(crate) fn uses_io_uring(self) -> bool {
        if offset!(task_io_uring) as u32 == ABSENT {
            return true;
        }
        // Asked seldom, on each of many paths: the helper costs less than to verify loads of a pointer.
        read::<u64>(self.address() + offset!(task_io_uring) as u64) != 0
    }

    /// Number of the system call that the running task is in, and whether it is of the 32-bit kind; `None` at the end of
    /// one, where it does what was left for then.
    #[inline(always)]
    pub(crate) fn system_call(self) -> Option<(u32, bool)> {
        let registers = Registers::of(self);
        if !is_running(registers) {
            return None;
        }
        // SAFETY: as above.
        let status: u32 = unsafe { self.number(offset!(task_call_status)) };
        Some((registers.at(NUMBER) as u32, status & COMPAT != 0))
    }

    /// Where the saved registers of the running task are, by the helper.
    #[inline(always)]
    pub(super) fn registers(self) -> *const u64 {
        // SAFETY: helpers that ask for nothing but the running task.
        unsafe {
            let task = if TYPED { self.0.cast_mut().cast() } else { bpf_get_current_task_btf() };
            bpf_task_pt_regs(task) as *const u64
        }
    }

    /// Where its kernel stack begins.
    #[inline(always)]
    pub(super) fn stack(self) -> u64 {
        // Not by its type: of such a load the verifier makes a pointer since 6.17, to which no distance could be added.
        let task = if TYPED { View::of_typed(self.0) } else { View::of(self.0 as u64) };
        task.at(offset!(task_stack))
    }

    /// Name of its process: that of the main thread. Asked seldom: through the helper.
    #[inline(always)]
    pub(crate) fn process_comm(self) -> [u64; COMM / 8] {
        let leader: u64 = read(self.address() + offset!(task_leader) as u64);
        read(leader + offset!(task_comm) as u64)
    }

    /// Name, whole.
    #[inline(always)]
    pub(crate) fn comm(self) -> [u64; COMM / 8] {
        if !TYPED {
            return read(self.address() + offset!(task_comm) as u64);
        }
        // SAFETY: as above; the name is COMM bytes.
        unsafe { [self.number(offset!(task_comm)), self.number(offset!(task_comm) + 8)] }
    }

    /// Effective uid in the initial user namespace.
    #[inline(always)]
    pub(crate) fn euid(self) -> u32 {
        // SAFETY: as above, and of its credentials.
        unsafe {
            let cred: *const u8 = Self::at(self.0, offset!(task_cred));
            Self::at(cred, offset!(cred_euid))
        }
    }

    /// Whether a seccomp filter sees its system calls: 2, or 1 in strict mode.
    #[inline(always)]
    pub(crate) fn seccomp(self) -> u8 {
        if offset!(task_seccomp) as u32 == ABSENT {
            return 0;
        }
        // SAFETY: a BTF member of the task; the mode is an integer of which the low byte holds every value.
        unsafe { self.number(offset!(task_seccomp)) }
    }

    /// Its cgroup v2 group, as a number.
    #[inline(always)]
    pub(crate) fn cgroup_address(self) -> u64 {
        // SAFETY: as above, and of what it points to.
        unsafe {
            let groups: *const u8 = Self::at(self.0, offset!(task_cgroups));
            Self::at(groups, offset!(cgroups_default))
        }
    }

    /// Low word of its effective capabilities, and the user namespace they hold in, as a number.
    #[inline(always)]
    pub(crate) fn capabilities(self) -> (u32, u64) {
        // SAFETY: as above.
        unsafe {
            let cred: *const u8 = Self::at(self.0, offset!(task_cred));
            (Self::at(cred, offset!(cred_capabilities)), Self::at(cred, offset!(cred_user_ns)))
        }
    }

    /// Id of its cgroup v2 group; it must be the running task.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> u64 {
        if !TYPED && !CASTS {
            // SAFETY: a helper without arguments.
            return unsafe { bpf_get_current_cgroup_id() };
        }
        // SAFETY: as above, and of what they point to.
        unsafe {
            let groups: *const u8 = Self::at(self.0, offset!(task_cgroups));
            let default: *const u8 = Self::at(groups, offset!(cgroups_default));
            let node: *const u8 = Self::at(default, offset!(cgroup_node));
            Self::at(node, offset!(node_id))
        }
    }

    /// Its network namespace: `struct net *`, inode number, and low half of the cookie. A task that is exiting has none.
    #[inline(always)]
    pub(crate) fn netns(self) -> (u64, u32, u32) {
        // SAFETY: as above; the verifier knows that a load through a null pointer gives zero.
        unsafe {
            let proxy: *const u8 = Self::at(self.0, offset!(task_nsproxy));
            let net: *const u8 = Self::at(proxy, offset!(nsproxy_net));
            let cookie = if is_there(offset!(net_cookie)) { Self::at(net, offset!(net_cookie)) } else { 0 };
            (net as u64, Self::at(net, offset!(net_inum)), cookie)
        }
    }

    /// Number of descriptors its table has room for, and the address of the array of files.
    #[inline(always)]
    pub(crate) fn descriptors(self) -> (u32, u64) {
        // SAFETY: as above.
        unsafe {
            let files: *const u8 = Self::at(self.0, offset!(task_files));
            let table: *const u8 = Self::at(files, offset!(files_fdt));
            (Self::at(table, offset!(fdt_max)), Self::at(table, offset!(fdt_fd)))
        }
    }
}
