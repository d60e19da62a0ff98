//! The socket that is woken: typed for the verifier, which lets its members be loaded, or a mere address.

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use reuse_ebpf::count::Selection;

use crate::programs::{
    field::{View, address_of, load, offset, read},
    socket::inode_number,
};

/// A `struct sock` that a hook was called with.
#[derive(Clone, Copy)]
pub(super) struct Sock<const TYPED: bool>(*const u8);

impl Sock<true> {
    /// One that came as a typed argument.
    #[inline(always)]
    pub(super) fn typed(sk: *const u8) -> Self {
        Self(sk)
    }
}

impl Sock<false> {
    /// One that came in a register.
    #[inline(always)]
    pub(super) fn address_only(sk: *const u8) -> Self {
        Self(sk)
    }
}

impl<const TYPED: bool> Sock<TYPED> {
    /// A member.
    #[inline(always)]
    pub(super) fn at<T: Copy>(self, offset: usize) -> T {
        if TYPED {
            // SAFETY: the pointer came as a typed argument, and the offset is of a BTF member.
            unsafe { load(self.0, offset) }
        } else {
            read(self.address() + offset as u64)
        }
    }

    /// Where it is.
    #[inline(always)]
    pub(super) fn address(self) -> u64 {
        if TYPED { address_of(self.0) } else { self.0 as u64 }
    }

    /// It, for members that are read seldom or behind its type.
    #[inline(always)]
    pub(super) fn view(self) -> View {
        if TYPED { View::of_typed(self.0) } else { View::of(self.0 as u64) }
    }

    /// Whether it is in a SO_REUSEPORT group. The option does not tell: accepted children inherit it, and clearing it
    /// takes no member out.
    #[inline(always)]
    pub(super) fn in_group(self) -> bool {
        self.at::<u64>(offset!(sk_reuseport_cb)) != 0
    }

    /// The `struct scm_fp_list *` of the newest message in the queue of a socket of AF_UNIX, 0 if it has none.
    #[inline(always)]
    pub(super) fn newest_files(self) -> u64 {
        let queue = offset!(sk_receive_queue);
        if self.at::<u32>(queue + offset!(queue_length)) == 0 {
            return 0;
        }
        // Behind that pointer may be the queue itself, if its reader was faster just now: what stands there is no list of
        // files, which is looked at only where its count and its files are such.
        let at = offset!(skb_cb) + offset!(message_files);
        if TYPED {
            // SAFETY: as in `at`; the member is a buffer by its type.
            unsafe { load(self.at::<*const u8>(queue + offset!(queue_prev)), at) }
        } else {
            read(self.at::<u64>(queue + offset!(queue_prev)) + at as u64)
        }
    }

    /// Its inode number (an MPTCP subflow has its parent's), 0 once it is closed. Asked once for each counter: the helper
    /// costs less than to verify the load of a pointer.
    #[inline(always)]
    pub(super) fn inode(self) -> u64 {
        match read(self.address() + offset!(sk_socket) as u64) {
            0 => 0,
            socket => inode_number(socket),
        }
    }

    /// The key of its counter: the cookie, which is made where there is none yet. Probes have no helper for that
    /// (kernel/trace/bpf_trace.c, `kprobe_prog_func_proto`) and go by the inode number until somebody else asks for a
    /// cookie; `None` for a socket that has neither.
    #[inline(always)]
    pub(super) fn key(self) -> Option<u64> {
        let cookie: u64 = self.at(offset!(sk_cookie));
        if cookie != 0 {
            return Some(cookie);
        }
        if TYPED {
            // SAFETY: a typed pointer to a socket.
            return Some(unsafe { bpf_get_socket_cookie(self.0.cast_mut().cast()) });
        }
        let inode = self.inode();
        (inode != 0).then(|| Selection::key_of_inode(inode))
    }
}
