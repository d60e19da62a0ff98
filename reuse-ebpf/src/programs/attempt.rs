//! Binds as the hooks of the root cgroup see them, whatever the way: before the port is asked for, and once it is taken.
//!
//! `cgroup/bind4|6` (net/ipv4/af_inet.c, `inet_bind_sk`; net/ipv6/af_inet6.c, `inet6_bind_sk`) and
//! `cgroup/post_bind4|6` (`__inet_bind`, `__inet6_bind`) run for every namespace and cost other system calls nothing. All
//! are counted; told are those of ways that no other program sees. A refusal shows only as an attempt without success:
//! the daemon infers it.
//!
//! The names begin alike, so that the programs know each other among a cgroup's (see `circumstances`).

use aya_ebpf::{
    macros::{cgroup_sock, cgroup_sock_addr},
    programs::{SockAddrContext, SockContext},
};
use reuse_ebpf::{
    count::passed,
    record::{Kind, SOCKADDR, Way},
};

use super::{
    arch::BIND,
    atomic::add_one,
    call::{Call, Caller, is_own},
    evidence::Asked,
    field::{address_of, offset, read},
    maps::PASSED,
    socket::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, Socket},
    subflow::{show_address, user_socket},
    task::Task,
    way::{self, is_bind_told, is_io_worker},
};

/// Lets the bind go on.
const ALLOW: i32 = 1;

/// `cgroup/bind4`
#[cgroup_sock_addr(bind4)]
pub(crate) fn reuse_bind4(ctx: SockAddrContext) -> i32 {
    about_to_bind(&ctx, AF_INET);
    ALLOW
}

/// `cgroup/bind6`
#[cgroup_sock_addr(bind6)]
pub(crate) fn reuse_bind6(ctx: SockAddrContext) -> i32 {
    about_to_bind(&ctx, AF_INET6);
    ALLOW
}

/// `cgroup/post_bind4`
#[cgroup_sock(post_bind4)]
pub(crate) fn reuse_post_bind4(ctx: SockContext) -> i32 {
    bound(&ctx);
    ALLOW
}

/// `cgroup/post_bind6`
#[cgroup_sock(post_bind6)]
pub(crate) fn reuse_post_bind6(ctx: SockContext) -> i32 {
    bound(&ctx);
    ALLOW
}

#[inline(always)]
fn about_to_bind(ctx: &SockAddrContext, family: u16) {
    let task = Task::current();
    // SAFETY: members of the program's context, always readable.
    let (sk, protocol) = unsafe { ((*ctx.sock_addr).__bindgen_anon_1.sk, (*ctx.sock_addr).protocol) };
    if !is_traced(protocol) || is_own(task) {
        return;
    }
    let way = way::of(task, BIND, || address_of(sk));
    count(passed::attempts(way));
    if !is_bind_told(way) {
        return;
    }
    let call = Call { kind: Kind::BindAttempt, way, result: 0, fd: -1, length: 0 };
    call.tell_with_evidence(of_user(user_socket(address_of(sk))), Asked::Request, |record| {
        // SAFETY: a filled record.
        unsafe { (*record).requested_len = copy_request(&raw mut (*record).requested, ctx, family) };
    });
}

#[inline(always)]
fn bound(ctx: &SockContext) {
    let task = Task::current();
    // SAFETY: a member of the program's context, always readable.
    if !is_traced(unsafe { (*ctx.sock).protocol }) || is_own(task) {
        return;
    }
    let way = way::of(task, BIND, || address_of(ctx.sock));
    count(passed::successes(way));
    if is_bind_told(way) {
        // SAFETY: the number of a way.
        unsafe { tell_bound(address_of(ctx.sock), way as u32) };
    }
}

/// Tells a bind that succeeded. To the verifier a function of its own, as [`super::evidence`] is.
///
/// # Safety
/// `way` must be the number of one.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn tell_bound(sk: u64, way: u32) -> i32 {
    // SAFETY: promised by the caller.
    let way: Way = unsafe { core::mem::transmute(way as u8) };
    let task = Task::current();
    let caller = Caller::of(task, is_io_worker(task));
    let call = Call { kind: Kind::Bind, way, result: 0, fd: -1, length: 0 };
    let user = user_socket(sk);
    call.tell(caller, of_user(user), |record| {
        if user != sk {
            // SAFETY: a filled record.
            unsafe { show_address(record, sk) };
        }
    });
    0
}

/// MPTCP's subflows are TCP here.
#[inline(always)]
fn is_traced(protocol: u32) -> bool {
    protocol == u32::from(IPPROTO_TCP) || protocol == u32::from(IPPROTO_UDP)
}

#[inline(always)]
fn of_user(sk: u64) -> Socket {
    Socket { socket: read(sk + offset!(sk_socket) as u64), sk }
}

/// Writes the address asked for as a socket address: the context has its members only.
///
/// # Safety
/// `to` must be valid for writes.
#[inline(always)]
unsafe fn copy_request(to: *mut [u8; SOCKADDR], ctx: &SockAddrContext, family: u16) -> u32 {
    const SOCKADDR_IN: u32 = 16;
    // SAFETY: `to` has SOCKADDR bytes, which hold either form; the rest are members of the program's context.
    unsafe {
        let asked = ctx.sock_addr;
        let at = to.cast::<u8>();
        at.cast::<u16>().write((*asked).user_family as u16);
        at.add(2).cast::<u16>().write((*asked).user_port as u16);
        if family == AF_INET {
            at.add(4).cast::<u32>().write((*asked).user_ip4);
            at.add(8).cast::<u64>().write(0);
            return SOCKADDR_IN;
        }
        at.add(4).cast::<u32>().write(0);
        let words = (&raw const (*asked).user_ip6).cast::<u32>();
        for word in 0..4 {
            at.add(8 + 4 * word).cast::<u32>().write(words.add(word).read_volatile());
        }
        at.add(24).cast::<u32>().write(0);
    }
    SOCKADDR as u32
}

#[inline(always)]
fn count(slot: u32) {
    if let Some(counter) = PASSED.get_ptr_mut(slot) {
        // SAFETY: per-CPU element. Atomic: where the kernel preempts, another bind may be counted in between.
        unsafe { add_one(counter) };
    }
}
