//! The record of one call: who made it, by which way, on which socket, and what it depended on.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use reuse_ebpf::{
    count::Lost,
    record::{COMM, CallRecord, Kind, SOCKADDR, Way},
};

use super::{
    circumstances,
    emit::{reserve, send, submit},
    field::{copy_user, offset, read, read_if_there},
    maps::OWN,
    port::{self, Scratch, Wanted, claim, release},
    socket::{AF_INET, AF_INET6, Common, Socket, copy_raw},
    task::Task,
    way::is_io_worker,
};

/// A call, as far as it is not its socket.
#[derive(Clone, Copy)]
pub(crate) struct Call<const TYPED: bool> {
    pub(crate) task: Task<TYPED>,
    pub(crate) kind: Kind,
    pub(crate) way: Way,
    pub(crate) result: i64,
    /// -1 where there is none
    pub(crate) fd: i32,
    /// As [`CallRecord::length`]
    pub(crate) length: i32,
}

impl<const TYPED: bool> Call<TYPED> {
    /// Writes the record of the call but for the address that it asked for, of which it says that there is none.
    ///
    /// # Safety
    /// `record` must be valid for writes; all its fields are written, `socket` only if it is one, `requested` never.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, record: *mut CallRecord, socket: Socket) {
        let Self { task, kind, way, result, fd, length } = *self;
        // SAFETY: promised by the caller.
        unsafe {
            // What depends on the way comes first: afterwards all ways are one to the verifier.
            (&raw mut (*record).way).write_volatile(way as u8);
            // No system call ends in a thread of io_uring's.
            let lent = !matches!(way, Way::Syscall) && is_io_worker(task);
            let comm = if lent { task.process_comm() } else { task.comm() };
            (&raw mut (*record).comm).cast::<[u64; COMM / 8]>().write_unaligned(comm);
            (*record).kind = kind as u32;
            (*record).result = result as i32;
            (*record).boottime_ns = bpf_ktime_get_boot_ns();
            (*record).pid = task.pid();
            (*record).tid = task.tid();
            (*record).cgroup = task.cgroup();
            (*record).uid = task.euid();
            (*record).fd = fd;
            (*record).length = length;
            (*record).queue_limit = 0;
            (*record).requested_len = 0;
            (*record).has_socket = 0;
            (*record).doubtful = 0;
            (*record).reserved = [0; 2];
            if socket.is_some() {
                copy_raw(&raw mut (*record).socket, socket, task);
                (*record).has_socket = 1;
                if matches!(kind, Kind::Listen) && result == 0 {
                    (*record).queue_limit = read_if_there(socket.sk, offset!(sk_max_ack_backlog));
                }
            }
        }
    }

    /// Tells a call that succeeded, or failed for a reason that needs no evidence.
    #[inline(always)]
    pub(crate) fn tell(&self, socket: Socket, complete: impl FnOnce(*mut CallRecord)) {
        let Some(mut entry) = reserve::<CallRecord>(Lost::RingCall) else { return };
        // SAFETY: the reserved space of one record.
        unsafe { self.fill(entry.as_mut_ptr(), socket) };
        complete(entry.as_mut_ptr());
        submit(entry);
    }

    /// Tells a call that was refused, or is about to be decided, with what the decision depends on. `request` writes the
    /// address that was asked for; the port is read if `reads_port`.
    #[inline(always)]
    pub(crate) fn tell_with_evidence(
        &self,
        socket: Socket,
        reads_port: bool,
        request: impl FnOnce(*mut CallRecord),
    ) {
        let Some(scratch) = claim() else { return };
        // SAFETY: the record is this program's until it is released; what is sent was written: the call, and of the
        // evidence as much as there is.
        unsafe {
            self.fill(&raw mut (*scratch).call, socket);
            request(&raw mut (*scratch).call);
            let length = if socket.is_some() {
                port::clear(scratch);
                self.note_evidence(scratch, socket, reads_port);
                port::length(scratch)
            } else {
                size_of::<CallRecord>() as u64
            };
            send(scratch.cast::<u8>(), length, Lost::RingCall);
            release(scratch);
        }
    }

    /// Notes what the answer depends on, for sockets of IPv4 and IPv6.
    ///
    /// # Safety
    /// `scratch` must point to a claimed scratch record with its call filled.
    #[inline(always)]
    unsafe fn note_evidence(&self, scratch: *mut Scratch, Socket { sk, .. }: Socket, reads_port: bool) {
        let common: Common = read(sk);
        let family: u16 = common.at(offset!(sk_family));
        if family != AF_INET && family != AF_INET6 {
            return;
        }
        // SAFETY: promised by the caller.
        unsafe {
            let protocol = (*scratch).call.socket.protocol;
            circumstances::note(&raw mut (*scratch).evidence, self.task, sk, protocol, &common);
            if !reads_port {
                return;
            }
            let record = &raw const (*scratch).call;
            let wanted = match self.kind {
                Kind::Bind | Kind::BindAttempt => {
                    Wanted::from_sockaddr(&(*record).requested, (*record).requested_len, family)
                }
                _ => Some(Wanted::of_bound(&common)),
            };
            if let Some(wanted) = wanted.filter(|wanted| wanted.port != 0) {
                port::read_port(scratch, sk, protocol, &common, wanted, port::BRIEFLY);
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
