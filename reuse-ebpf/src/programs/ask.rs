//! The port of a socket that has not asked yet: the same reading as after a refusal, run on request.
//!
//! A raw tracepoint's program that is never attached: the daemon runs it in its own thread by `BPF_PROG_TEST_RUN`
//! (net/bpf/test_run.c, `bpf_prog_test_run_raw_tp`, since 5.10), on a socket of its own.

use aya_ebpf::{EbpfContext, macros::raw_tracepoint, programs::RawTracePointContext};
use reuse_ebpf::record::{Kind, Way};

use super::{
    call::Call,
    evidence::{self, Asked},
    port::{self, Wanted, claim, release},
    socket::of_descriptor,
    task::Task,
};

/// Arguments: the descriptor; [`Kind::Bind`] or [`Kind::Listen`]; the address in two words, IPv4 mapped; the port.
#[raw_tracepoint]
pub(crate) fn ask(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the daemon passes five words.
    let [fd, kind, low, high, wanted_port] = unsafe { ctx.as_ptr().cast::<[u64; 5]>().read() };
    let task = Task::current_address();
    let Some(socket) = of_descriptor(task, fd as i32, true) else { return 0 };
    let Some(scratch) = claim() else { return 0 };
    let (kind, asked) =
        if kind == Kind::Listen as u64 { (Kind::Listen, Asked::Bound) } else { (Kind::Bind, Asked::Wanted) };
    let call = Call { kind, way: Way::Syscall, result: 0, fd: fd as i32, length: 0 };
    // SAFETY: the record is this program's until it is released.
    unsafe {
        call.begin(&raw mut (*scratch).call);
        port::want(scratch, Wanted::new(low, high, wanted_port as u16));
        evidence::tell(scratch, socket, asked, port::AT_LEISURE);
        release(scratch);
    }
    0
}
