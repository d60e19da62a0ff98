//! The port of a socket that has not asked yet: the same reading as after a refusal, run on request.
//!
//! A raw tracepoint's program that is never attached: the daemon runs it in its own thread by `BPF_PROG_TEST_RUN`
//! (net/bpf/test_run.c, `bpf_prog_test_run_raw_tp`, since 5.10), on a socket of its own.

use aya_ebpf::{EbpfContext, macros::raw_tracepoint, programs::RawTracePointContext};
use reuse_ebpf::{
    count::Lost,
    record::{COMM, Kind},
};

use super::{
    circumstances,
    emit::send,
    field::read,
    port::{self, SCRATCH, Wanted},
    socket::{Common, copy_raw, of_descriptor},
    task::Task,
};

/// Arguments: the descriptor; [`Kind::Bind`] or [`Kind::Listen`]; the address in two words, IPv4 mapped; the port.
#[raw_tracepoint]
pub(crate) fn ask(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the daemon passes five words.
    let [fd, kind, low, high, wanted_port] = unsafe { ctx.as_ptr().cast::<[u64; 5]>().read() };
    let task = Task::current_address();
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return 0 };
    let Some(socket) = of_descriptor(task, fd as i32, true) else { return 0 };
    let common: Common = read(socket.sk);
    let wanted = if kind == Kind::Listen as u64 {
        Wanted::of_bound(&common)
    } else {
        Wanted::new(low, high, wanted_port as u16)
    };
    // SAFETY: `scratch` is the map's element for this CPU, which nothing else uses while preemption is off; the call's
    // fields are written, `requested` is not sent as read.
    unsafe {
        let call = &raw mut (*scratch).call;
        (*call).kind = kind as u32;
        (*call).result = 0;
        (*call).boottime_ns = 0;
        (*call).pid = task.pid();
        (*call).tid = task.tid();
        (*call).cgroup = task.cgroup();
        (&raw mut (*call).comm).cast::<[u64; COMM / 8]>().write_unaligned(task.comm());
        (*call).uid = task.euid();
        (*call).fd = fd as i32;
        (*call).length = 0;
        (*call).queue_limit = 0;
        (*call).requested_len = 0;
        (*call).has_socket = 1;
        (*call).reserved = 0;
        copy_raw(&raw mut (*call).socket, socket, task);
        let protocol = (*call).socket.protocol;
        port::clear(scratch);
        circumstances::note(&raw mut (*scratch).evidence, task, socket.sk, protocol, &common);
        port::read_port(scratch, socket.sk, protocol, &common, wanted, port::AT_LEISURE);
        send(scratch.cast::<u8>(), port::length(scratch), Lost::RingCall);
    }
    0
}
