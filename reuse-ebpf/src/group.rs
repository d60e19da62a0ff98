//! A SO_REUSEPORT group as the kernel keeps it (net/core/sock_reuseport.c, `struct sock_reuseport`), seen from one member.

/// What picks a member, as far as it is a program.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// None is attached
    None = 0,
    /// Classic BPF
    Classic = 1,
    /// eBPF, of either kind that may be attached
    Ebpf = 2,
}

/// The group of one socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawGroup {
    /// `num_socks`: members that can be picked
    pub members: u32,
    /// Position of the socket among them, [`RawGroup::NOT_FOUND`] beyond the first [`RawGroup::SEARCHED_MAX`]
    pub index: u32,
    /// `sk_incoming_cpu` of the socket, negative where it is not set (signed)
    pub incoming_cpu: u32,
    /// 1 if the socket is in a group: the rest means something
    pub exists: u8,
    /// [`Program`]
    pub program: u8,
    /// 1 if a member has SO_INCOMING_CPU and the kernel's choice heeds it (`incoming_cpu`: 6.2, b261eda84ec1,
    /// and stable kernels before it)
    pub heeds_cpu: u8,
    /// `has_conns`: 1 if a UDP member is connected or was
    pub has_connected: u8,
}
const _: () = assert!(size_of::<RawGroup>() == 16);

impl RawGroup {
    /// Index of one that was not found.
    pub const NOT_FOUND: u32 = u32::MAX;

    /// No group.
    pub const NONE: Self = Self {
        members: 0,
        index: Self::NOT_FOUND,
        incoming_cpu: 0,
        exists: 0,
        program: 0,
        heeds_cpu: 0,
        has_connected: 0,
    };

    /// Members that are compared at a time, all on the stack; the kernel makes room for a multiple of that (`INIT_SOCKS`,
    /// doubled).
    pub const CHUNK: u32 = 8;

    /// Most members among which a socket is searched.
    pub const SEARCHED_MAX: u32 = 1024;
}
