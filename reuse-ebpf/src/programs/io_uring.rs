//! Binds and listens that io_uring carried out, when they complete.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use reuse_ebpf::record::{Kind, Way};

use super::{
    call::{Call, Caller, is_own},
    field::{offset, read},
    socket::{Socket, of_file},
    task::Task,
    way::{is_bind_told, is_io_worker},
};

/// include/uapi/linux/io_uring.h, since 6.11
const IORING_OP_BIND: u8 = 56;
const IORING_OP_LISTEN: u8 = 57;

/// `tp_btf/io_uring_complete(struct io_ring_ctx *ctx, void *req, struct io_uring_cqe *cqe)`: every completion that is
/// reported. A failure always is; a success need not be (`IOSQE_CQE_SKIP_SUCCESS`): those of binds are told by the
/// hooks of the root cgroup where they are attached.
#[btf_tracepoint(function = "io_uring_complete")]
pub(crate) fn io_uring_complete(ctx: BtfTracePointContext) -> i32 {
    let request: u64 = ctx.arg(1);
    if request == 0 {
        return 0;
    }
    let kind = match read::<u8>(request + offset!(request_opcode) as u64) {
        IORING_OP_BIND => Kind::Bind,
        IORING_OP_LISTEN => Kind::Listen,
        _ => return 0,
    };
    let result = i64::from(read::<i32>(request + offset!(request_result) as u64));
    let told_by_hook = matches!(kind, Kind::Bind) && result == 0 && is_bind_told(Way::IoUring);
    let task = Task::current_address();
    if told_by_hook || is_own(task) {
        return 0;
    }
    let caller = Caller::of(task, is_io_worker(task));
    let call = Call { kind, way: Way::IoUring, result, fd: -1, length: 0 };
    let file: u64 = read(request + offset!(request_file) as u64);
    let socket = if file == 0 { None } else { of_file(file, true) }.unwrap_or(Socket::NONE);
    // The address asked for, and the port, were told when it was attempted.
    call.tell(caller, socket, |_| ());
    0
}
