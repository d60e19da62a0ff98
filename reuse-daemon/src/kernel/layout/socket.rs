//! Where the decoder finds the members of a socket in the bytes that the programs copied.

use reuse_ebpf::record::SOCK_COMMON;

use super::LayoutError;
use crate::kernel::btf::Btf;

/// Where the decoder finds things in the copied bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLayout {
    pub(in crate::kernel) family: usize,
    pub(in crate::kernel) state: usize,
    pub(in crate::kernel) num: usize,
    pub(in crate::kernel) bound_dev: usize,
    pub(in crate::kernel) rcv_saddr: usize,
    pub(in crate::kernel) v6_rcv_saddr: usize,
    pub(in crate::kernel) cookie: usize,
    /// Bits from the start of `sock_common`; SO_REUSEADDR is four bits wide, its values 0, 1 and 2
    pub(in crate::kernel) reuse: usize,
    pub(in crate::kernel) reuseport: usize,
    pub(in crate::kernel) v6only: usize,
    /// Counts in its namespace: sockets that the kernel makes for itself do not
    pub(in crate::kernel) net_refcnt: usize,
    /// Bits within the copied word of `inet_sock`
    pub(in crate::kernel) freebind: usize,
    pub(in crate::kernel) transparent: usize,
    pub(in crate::kernel) bind_address_no_port: usize,
}

impl SocketLayout {
    /// Looks them up.
    ///
    /// # Errors
    /// A member is missing or not among the copied bytes.
    pub fn from_btf(btf: &Btf<'_>) -> Result<Self, LayoutError> {
        let common = |path: &'static str, bytes: usize| {
            let bits = btf.member_bits(path).ok_or(LayoutError::Missing(path))? as usize;
            if bits / 8 + bytes > SOCK_COMMON { Err(LayoutError::TooFar(path)) } else { Ok(bits) }
        };
        let bytes = |path, size| common(path, size).map(|bits| bits / 8);
        let inet = |flag, field| inet_bit(btf, flag, field);
        Ok(Self {
            family: bytes("sock_common.skc_family", 2)?,
            state: bytes("sock_common.skc_state", 1)?,
            num: bytes("sock_common.skc_num", 2)?,
            bound_dev: bytes("sock_common.skc_bound_dev_if", 4)?,
            rcv_saddr: bytes("sock_common.skc_rcv_saddr", 4)?,
            v6_rcv_saddr: bytes("sock_common.skc_v6_rcv_saddr", 16)?,
            cookie: bytes("sock_common.skc_cookie", 8)?,
            reuse: common("sock_common.skc_reuse", 1)?,
            reuseport: common("sock_common.skc_reuseport", 1)?,
            v6only: common("sock_common.skc_ipv6only", 1)?,
            net_refcnt: common("sock_common.skc_net_refcnt", 1)?,
            freebind: inet("INET_FLAGS_FREEBIND", "inet_sock.freebind")?,
            transparent: inet("INET_FLAGS_TRANSPARENT", "inet_sock.transparent")?,
            bind_address_no_port: inet("INET_FLAGS_BIND_ADDRESS_NO_PORT", "inet_sock.bind_address_no_port")?,
        })
    }
}

/// Since 6.6 the options are bits of one word, numbered by an enumeration (include/net/inet_sock.h); before, bit-fields
/// of which the first one wanted is where the copy begins.
fn inet_bit(btf: &Btf<'_>, flag: &str, field: &'static str) -> Result<usize, LayoutError> {
    if btf.member_bits("inet_sock.inet_flags").is_some() {
        return btf
            .enumerator(flag)
            .map(|bit| bit as usize)
            .ok_or(LayoutError::Missing("inet_sock.inet_flags"));
    }
    let start =
        btf.member_bits("inet_sock.freebind").ok_or(LayoutError::Missing("inet_sock.freebind"))? / 8 * 8;
    let bit = btf.member_bits(field).ok_or(LayoutError::Missing(field))?;
    bit.checked_sub(start).filter(|bit| *bit < 64).map(|bit| bit as usize).ok_or(LayoutError::TooFar(field))
}
