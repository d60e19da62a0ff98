//! MPTCP's subflows: TCP sockets that work for an MPTCP socket, which is all that their user has. The two share port and
//! inode number; options are the MPTCP socket's.

use reuse_ebpf::{offsets::ABSENT, record::CallRecord};

use super::{
    field::{View, is_there, offset, read},
    socket::{IPPROTO_MPTCP, IPPROTO_TCP},
};

/// Whether it is one. Other sockets than TCP's end before the bit that says so.
#[inline(always)]
pub(crate) fn is_subflow(sk: u64) -> bool {
    offset!(tcp_is_mptcp) as u32 != ABSENT
        && read::<u16>(sk + offset!(sk_protocol) as u64) == IPPROTO_TCP
        && View::of(sk).bits(offset!(tcp_is_mptcp), 1) != 0
}

/// The socket that the user has: the MPTCP socket of a subflow, else itself.
#[inline(always)]
pub(crate) fn user_socket(sk: u64) -> u64 {
    if offset!(csk_ulp_data) as u32 == ABSENT || offset!(subflow_parent) as u32 == ABSENT || !is_subflow(sk) {
        return sk;
    }
    let subflow: u64 = read(sk + offset!(csk_ulp_data) as u64);
    let parent: u64 = if subflow == 0 { 0 } else { read(subflow + offset!(subflow_parent) as u64) };
    if parent == 0 { sk } else { parent }
}

/// The socket that is in the group: the first subflow of an MPTCP socket, else itself.
#[inline(always)]
pub(crate) fn listener(sk: u64) -> u64 {
    if !is_there(offset!(mptcp_first)) || read::<u16>(sk + offset!(sk_protocol) as u64) != IPPROTO_MPTCP {
        return sk;
    }
    let first: u64 = read(sk + offset!(mptcp_first) as u64);
    if first == 0 { sk } else { first }
}

/// Writes the address that `sk` has into the record of the socket it works for, which gets it last.
///
/// # Safety
/// `record` must be a filled record.
#[inline(always)]
pub(crate) unsafe fn show_address(record: *mut CallRecord, sk: u64) {
    let sk = View::of(sk);
    // SAFETY: promised by the caller; the daemon holds these members within the copied bytes.
    unsafe {
        let to = (&raw mut (*record).socket.common).cast::<u8>();
        to.add(offset!(sk_num)).cast::<u16>().write(sk.at(offset!(sk_num)));
        to.add(offset!(sk_rcv_saddr)).cast::<u32>().write(sk.at(offset!(sk_rcv_saddr)));
        to.add(offset!(sk_v6_rcv_saddr)).cast::<[u32; 4]>().write(sk.at(offset!(sk_v6_rcv_saddr)));
    }
}
