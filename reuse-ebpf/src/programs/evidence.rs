//! What the answer to a call depends on, written behind the record of the call and sent with it.
//!
//! A function of its own to the verifier, which checks such once and not for each way that leads to it (kernel/bpf/btf.c,
//! `btf_prepare_func_args`): hence a name for the linker, plain arguments, and a number as the result.

use reuse_ebpf::{
    count::Lost,
    record::{CallRecord, Kind, Way},
};

use super::{
    call::{Caller, complete},
    circumstances,
    emit::send,
    field::offset,
    port::{self, Scratch, Wanted},
    socket::{AF_INET, AF_INET6, Copied, Socket},
    task::Task,
    way::is_io_worker,
};

/// Which port is read.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Asked {
    /// None
    Nothing,
    /// That of the request, or where it names none what the socket is bound to
    Request,
    /// That which [`port::want`] wrote, whatever it is
    Wanted,
    /// That which the socket is bound to, whatever it is
    Bound,
}

/// Completes and sends a record whose call has begun. The walk over the port takes at most `budget` nanoseconds.
///
/// # Safety
/// `scratch` must be claimed, and its call begun.
#[inline(always)]
pub(crate) unsafe fn tell(scratch: *mut Scratch, Socket { socket, sk }: Socket, asked: Asked, budget: u64) {
    // SAFETY: promised by the caller.
    unsafe { tell_evidence(scratch, socket, sk, asked as u32, budget) };
}

/// # Safety
/// As [`tell`].
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn tell_evidence(
    scratch: *mut Scratch,
    socket: u64,
    sk: u64,
    asked: u32,
    budget: u64,
) -> i32 {
    if scratch.is_null() {
        return 0;
    }
    let task = Task::current_address();
    // SAFETY: promised by the caller; what is sent was written: the call, and of the evidence as much as there is.
    unsafe {
        let call = &raw mut (*scratch).call;
        let lent = (*call).way != Way::Syscall as u8 && is_io_worker(task);
        let listens = (*call).kind == Kind::Listen as u32 && (*call).result == 0;
        complete(call, Caller::of(task, lent), Socket { socket, sk }, listens);
        let length = if sk == 0 {
            size_of::<CallRecord>() as u64
        } else {
            port::clear(scratch);
            note(scratch, sk, task, asked, budget);
            port::make_room(scratch);
            port::length(scratch)
        };
        send(scratch.cast::<u8>(), length, Lost::RingCall);
    }
    0
}

/// Notes it for sockets of IPv4 and IPv6.
///
/// # Safety
/// `scratch` must point to a claimed scratch record with its call complete.
#[inline(always)]
unsafe fn note(scratch: *mut Scratch, sk: u64, task: Task<false>, asked: u32, budget: u64) {
    // SAFETY: promised by the caller.
    let common = unsafe { Copied::of(&raw const (*scratch).call.socket) };
    let family: u16 = common.at(offset!(sk_family));
    if family != AF_INET && family != AF_INET6 {
        return;
    }
    // SAFETY: promised by the caller.
    unsafe {
        let record = &raw const (*scratch).call;
        let protocol = (&raw const (*record).socket.protocol).read_volatile();
        circumstances::note(&raw mut (*scratch).evidence, task, sk, protocol, common);
        let binds = (*record).kind == Kind::Bind as u32 || (*record).kind == Kind::BindAttempt as u32;
        let wanted = if asked == Asked::Nothing as u32 {
            None
        } else if asked == Asked::Wanted as u32 {
            Some(port::wanted(scratch))
        } else if asked == Asked::Request as u32 && binds {
            Wanted::from_sockaddr(
                &(*record).requested,
                (*record).requested_len,
                common.anew(offset!(sk_family)),
            )
        } else {
            Some(Wanted::of_bound(common))
        };
        let reads = |wanted: &Wanted| asked != Asked::Request as u32 || wanted.port != 0;
        if let Some(wanted) = wanted.filter(reads) {
            let protocol = (&raw const (*record).socket.protocol).read_volatile();
            port::read_port(scratch, sk, protocol, common, wanted, budget);
        }
    }
}
