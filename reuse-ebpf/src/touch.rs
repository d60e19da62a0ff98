//! Which changes of a socket are told: what of it decides who gets a port, or what comes in on it.

/// What was changed.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// `SO_REUSEADDR`
    ReuseAddr = 1,
    /// `SO_REUSEPORT`
    ReusePort = 2,
    /// `SO_ATTACH_REUSEPORT_CBPF`, `SO_ATTACH_REUSEPORT_EBPF`
    AttachProgram = 3,
    /// `SO_DETACH_REUSEPORT_BPF`
    DetachProgram = 4,
    /// `SO_INCOMING_CPU`
    IncomingCpu = 5,
    /// `SO_BINDTODEVICE`, `SO_BINDTOIFINDEX`
    Device = 6,
    /// `TCP_REPAIR`
    Repair = 7,
    /// It joined or left a multicast group
    Multicast = 8,
    /// Its owner
    Uid = 9,
}

impl Touched {
    /// Every one, in the order of the numbers.
    pub const ALL: [Self; 9] = [
        Self::ReuseAddr,
        Self::ReusePort,
        Self::AttachProgram,
        Self::DetachProgram,
        Self::IncomingCpu,
        Self::Device,
        Self::Repair,
        Self::Multicast,
        Self::Uid,
    ];

    /// What `setsockopt` changes by this option; `None` for those that are not told. The numbers are the same on every
    /// architecture the programs are built for (include/uapi/asm-generic/socket.h, include/uapi/linux/in.h, in6.h, tcp.h).
    #[inline(always)]
    #[must_use]
    pub const fn by_option(level: i32, option: i32) -> Option<Self> {
        const SOL_SOCKET: i32 = 1;
        const IPPROTO_IP: i32 = 0;
        const IPPROTO_TCP: i32 = 6;
        const IPPROTO_IPV6: i32 = 41;
        match (level, option) {
            (SOL_SOCKET, 2) => Some(Self::ReuseAddr),
            (SOL_SOCKET, 15) => Some(Self::ReusePort),
            (SOL_SOCKET, 51 | 52) => Some(Self::AttachProgram),
            (SOL_SOCKET, 68) => Some(Self::DetachProgram),
            (SOL_SOCKET, 49) => Some(Self::IncomingCpu),
            (SOL_SOCKET, 25 | 62) => Some(Self::Device),
            (IPPROTO_TCP, 19) => Some(Self::Repair),
            // IP_{ADD,DROP}_MEMBERSHIP and the same for a source; MCAST_{JOIN,LEAVE}_GROUP, _SOURCE_GROUP
            (IPPROTO_IP, 35 | 36 | 39 | 40 | 42 | 45 | 46 | 47) => Some(Self::Multicast),
            // IPV6_{JOIN,LEAVE}_GROUP; as above
            (IPPROTO_IPV6, 20 | 21 | 42 | 45 | 46 | 47) => Some(Self::Multicast),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_told_at_its_own_level_only() {
        assert_eq!(Touched::by_option(1, 15), Some(Touched::ReusePort));
        assert_eq!(Touched::by_option(6, 15), None);
        assert_eq!(Touched::by_option(6, 19), Some(Touched::Repair));
        assert_eq!(Touched::by_option(0, 35), Some(Touched::Multicast));
        assert_eq!(Touched::by_option(41, 20), Some(Touched::Multicast));
        assert_eq!(Touched::by_option(1, 20), None);
        // SO_RCVBUF, TCP_NODELAY, IPV6_V6ONLY
        assert_eq!(
            [(1, 8), (6, 1), (41, 26)].map(|(level, option)| Touched::by_option(level, option)),
            [None; 3]
        );
    }

    #[test]
    fn numbers_are_places() {
        for (place, touched) in (1..).zip(Touched::ALL) {
            assert_eq!(touched as u8, place);
        }
    }
}
