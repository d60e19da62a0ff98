//! What the kernel compares as the uid of a socket that may be the subflow of an MPTCP socket.

use reuse_ebpf::offsets::ABSENT;

use super::field::{offset, read};

/// The uid of a full socket that holds a port, or asks for one.
///
/// Up to 6.16 it is that of the inode (net/core/sock.c, `sock_i_uid`). A subflow has its parent's (net/mptcp/protocol.c,
/// `mptcp_sock_graft`), whose owner may be another than the one it was made under. Of every other socket both are the
/// same. That 6.17 compares the socket's own already does not show in the types.
#[inline(always)]
pub(super) fn uid_of(sk: u64) -> u32 {
    let socket: u64 = read(sk + offset!(sk_socket) as u64);
    let by_inode = offset!(sk_ino) as u32 == ABSENT && offset!(inode_uid) as u32 != ABSENT;
    if !by_inode || socket == 0 {
        return read(sk + offset!(sk_uid) as u64);
    }
    read(socket + (offset!(alloc_inode) - offset!(alloc_socket) + offset!(inode_uid)) as u64)
}
