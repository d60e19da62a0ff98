//! The record of one call: who made it, by which way, on which socket, and what it depended on.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use reuse_ebpf::{
    count::Lost,
    record::{COMM, CallRecord, Kind, SOCKADDR, Way},
};

use super::{
    emit::{reserve, submit},
    evidence::{self, Asked},
    field::{copy_user, offset, read_if_there},
    maps::OWN,
    port::{self, claim, release},
    socket::{Socket, copy_raw},
    task::Task,
};

/// Who makes a call.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    cgroup: u64,
    comm: [u64; COMM / 8],
    /// Its network namespace, see [`Task::netns`]
    netns: (u64, u32, u32),
    pid: u32,
    tid: u32,
    uid: u32,
}

impl Caller {
    /// The running task; `lent`: it is a thread of io_uring's. To be read before a program goes several ways, where the task
    /// is typed: see [`Task`] on what such loads cost.
    #[inline(always)]
    pub(crate) fn of<const TYPED: bool>(task: Task<TYPED>, lent: bool) -> Self {
        Self {
            cgroup: task.cgroup(),
            uid: task.euid(),
            netns: task.netns(),
            pid: task.pid(),
            tid: task.tid(),
            comm: if lent { task.process_comm() } else { task.comm() },
        }
    }
}

/// A call, as far as it is neither its caller nor its socket.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) way: Way,
    pub(crate) result: i64,
    /// -1 where there is none
    pub(crate) fd: i32,
    /// As [`CallRecord::length`]
    pub(crate) length: i32,
}

impl Call {
    /// Writes what is known of the call without a look at who made it; of the address that it asked for, that there is none.
    ///
    /// # Safety
    /// `record` must be valid for writes.
    #[inline(always)]
    pub(crate) unsafe fn begin(&self, record: *mut CallRecord) {
        // SAFETY: promised by the caller.
        unsafe {
            // What depends on the way comes first: afterwards all ways are one to the verifier.
            (&raw mut (*record).way).write_volatile(self.way as u8);
            (*record).kind = self.kind as u32;
            (*record).result = self.result as i32;
            (*record).fd = self.fd;
            (*record).length = self.length;
            (*record).queue_limit = 0;
            (*record).requested_len = 0;
            (*record).doubtful = 0;
            (*record).reserved = [0; 2];
        }
    }

    /// Tells a call that succeeded, or failed for a reason that needs no evidence. `finish` gets the record with all but
    /// the address that was asked for.
    #[inline(always)]
    pub(crate) fn tell(&self, caller: Caller, socket: Socket, finish: impl FnOnce(*mut CallRecord)) {
        let Some(mut entry) = reserve::<CallRecord>(Lost::RingCall) else { return };
        let listens = matches!(self.kind, Kind::Listen) && self.result == 0;
        let record = entry.as_mut_ptr();
        // SAFETY: the reserved space of one record.
        unsafe {
            self.begin(record);
            complete(record, caller, socket, listens);
        }
        finish(record);
        submit(entry);
    }

    /// Tells a call that was refused, or is about to be decided, with what the decision depends on. `request` writes the
    /// address that was asked for.
    #[inline(always)]
    pub(crate) fn tell_with_evidence(
        &self,
        socket: Socket,
        asked: Asked,
        request: impl FnOnce(*mut CallRecord),
    ) {
        let Some(scratch) = claim() else { return };
        // SAFETY: the record is this program's until it is released.
        unsafe {
            self.begin(&raw mut (*scratch).call);
            request(&raw mut (*scratch).call);
            evidence::tell(scratch, socket, asked, port::BRIEFLY);
            release(scratch);
        }
    }
}

/// Writes who made the call, and the socket as it is; `listens`: it does since this call.
///
/// # Safety
/// `record` must be one whose call has begun; all its other fields are written, `socket` only if it is one, `requested`
/// never.
#[inline(always)]
pub(crate) unsafe fn complete(record: *mut CallRecord, caller: Caller, socket: Socket, listens: bool) {
    // SAFETY: promised by the caller.
    unsafe {
        (&raw mut (*record).comm).cast::<[u64; COMM / 8]>().write(caller.comm);
        (*record).boottime_ns = bpf_ktime_get_boot_ns();
        (*record).pid = caller.pid;
        (*record).tid = caller.tid;
        (*record).cgroup = caller.cgroup;
        (*record).uid = caller.uid;
        (*record).has_socket = 0;
        if socket.is_some() {
            copy_raw(&raw mut (*record).socket, socket, caller.netns);
            (*record).has_socket = 1;
            if listens {
                (*record).queue_limit = read_if_there(socket.sk, offset!(sk_max_ack_backlog));
            }
        }
    }
}

/// Copies the address argument. It is user memory that another thread may have changed since; nothing is decided on it.
///
/// # Safety
/// `to` must be valid for writes.
#[inline(always)]
pub(crate) unsafe fn copy_requested(to: *mut [u8; SOCKADDR], address: u64, length: i32) -> u32 {
    if length <= 0 {
        return 0;
    }
    // The verifier wants to see the bound on the very register that the helper gets.
    let wanted = core::hint::black_box((length as u32).min(SOCKADDR as u32))
        & ((SOCKADDR as u32).next_power_of_two() - 1);
    // SAFETY: `wanted` is at most SOCKADDR: the mask changes nothing.
    if unsafe { copy_user(to.cast(), wanted, address) } { wanted } else { 0 }
}

/// Whether the task is the daemon's own, whose calls are not told.
#[inline(always)]
pub(crate) fn is_own<const TYPED: bool>(task: Task<TYPED>) -> bool {
    OWN.get(0).is_some_and(|own| *own == task.pid())
}
