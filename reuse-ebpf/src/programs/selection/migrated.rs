//! Connections that a closing listener hands on to another member of its group (`net.ipv4.tcp_migrate_req`, or a program
//! that says so): selected once, at the listener that closed.
//!
//! Kernels that wake the new listener for such a connection (a fix of 2026, also in stable kernels) wake it in the thread
//! that closes the old one, right after its state changed (net/ipv4/inet_connection_sock.c, `inet_csk_listen_stop`), and for
//! a connection that was there before. One that is new has just received its last segment when its listener is woken.

use aya_ebpf::helpers::generated::bpf_get_current_pid_tgid;

use super::sock::Sock;
use crate::programs::{
    field::{is_there, now, offset, read},
    maps::{CLOSERS, HANDED_ON},
};

/// Notes that a listener closes. One that still has its group then will hand on what it has queued
/// (net/core/sock_reuseport.c, `reuseport_stop_listen_sock`).
#[inline(always)]
pub(crate) fn note_close(sk: u64) {
    if read::<u64>(sk + offset!(sk_reuseport_cb) as u64) == 0 {
        return;
    }
    let now = now();
    // A map this size has room for whoever closes a listener at this moment.
    let _ = CLOSERS.insert(thread(), now, 0);
    if let Some(last) = HANDED_ON.get_ptr_mut(0) {
        // SAFETY: the array's only element, always written whole; a lost update is one of the same moment.
        unsafe { last.write_volatile(now) };
    }
}

/// Whether the connection that a listener is woken for was handed on to it. On a host where no listener ever did that, one
/// load says no.
#[inline(always)]
pub(super) fn is_handed_on<const TYPED: bool>(listener: Sock<TYPED>) -> bool {
    // SAFETY: the array's only element.
    let last = HANDED_ON.get_ptr(0).map_or(0, |last| unsafe { last.read_volatile() });
    if last == 0 || !is_there(offset!(csk_accept_tail)) || !is_there(offset!(request_sk)) {
        return false;
    }
    let newest: u64 = listener.view().at(offset!(csk_accept_tail));
    if newest == 0 || !is_there(offset!(tcp_mstamp)) {
        return false;
    }
    let connection: u64 = read(newest + offset!(request_sk) as u64);
    // 0: of TCP Fast Open, and new.
    let active = read::<u64>(connection + offset!(tcp_mstamp) as u64) * 1000;
    if active == 0 || active > last {
        return false;
    }
    // SAFETY: a value of the map, read whole.
    CLOSERS.get_ptr(thread()).is_some_and(|closed| active <= unsafe { closed.read_volatile() })
}

#[inline(always)]
fn thread() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_pid_tgid() }
}
