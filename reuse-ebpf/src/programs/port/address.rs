//! An address as two words, IPv4 in its mapped form: one way to compare what sockets of either family have.

use super::super::{
    field::offset,
    socket::{AF_INET, Copied},
};

/// The sixteen bytes of an IPv6 address as they lie in memory; IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(pub(super) u64, pub(super) u64);

/// The third word of a mapped address, as it lies in memory.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Address {
    /// An IPv4 address, network byte order.
    #[inline(always)]
    pub(super) fn from_v4(v4: u32) -> Self {
        Self(0, u64::from(MAPPED) | u64::from(v4) << 32)
    }

    /// The local address of a socket.
    #[inline(always)]
    pub(super) fn of(common: Copied) -> Self {
        if common.at::<u16>(offset!(sk_family)) == AF_INET {
            return Self::from_v4(common.at(offset!(sk_rcv_saddr)));
        }
        let [low, high] = common.address(offset!(sk_v6_rcv_saddr));
        Self(low, high)
    }

    #[inline(always)]
    pub(super) fn is_mapped(self) -> bool {
        self.0 == 0 && self.1 as u32 == MAPPED
    }

    /// `::`
    #[inline(always)]
    pub(super) fn is_unspecified(self) -> bool {
        self.0 | self.1 == 0
    }

    /// `::`, `0.0.0.0` or `::ffff:0.0.0.0`
    #[inline(always)]
    pub(super) fn is_wildcard(self) -> bool {
        self.is_unspecified() || (self.is_mapped() && self.v4() == 0)
    }

    /// The IPv4 part, network byte order.
    #[inline(always)]
    pub(super) fn v4(self) -> u32 {
        (self.1 >> 32) as u32
    }
}
