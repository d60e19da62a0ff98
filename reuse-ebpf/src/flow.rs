//! Which flows a socket of a SO_REUSEPORT group saw in a window of time: what statistics go by, since the datagrams of one
//! flow all go the same way. For TCP each selection is a flow, and none of this is needed.
//!
//! A flow is a source address and port: what the kernel's hash tells apart within a group, for which the destination is the
//! address that the group is bound to (net/ipv4/udp.c, `udp4_lib_lookup2`: 0.0.0.0 for a wildcard group, whatever the
//! datagram says). The map of flows says for each flow of a socket in which window it was seen last; a window is a number
//! that user space moves on, and whose value means nothing.

/// Most flows that are remembered, of all sockets. The map is LRU: a flow that is evicted is counted again when it comes
/// again.
pub const FLOWS_MAX: u32 = 1 << 16;

/// As long as not more flows than this were entered since a window began, none of that window was evicted: an LRU map of
/// the kernel evicts from the half that was not used lately, and before it is full by what each CPU keeps at hand
/// (kernel/bpf/bpf_lru_list.c).
pub const FLOWS_TRUSTED: u64 = FLOWS_MAX as u64 / 2;

/// Number of windows.
pub const WINDOWS: u32 = 1 << 16;

/// The window of a counter, by its key: the low bits, so that two sockets may share one. Whoever turns it turns it for both.
#[must_use]
pub const fn window_of(key: u64) -> u32 {
    key as u32 & (WINDOWS - 1)
}

/// Datagrams that a CPU looks at in a second, at most: what telling flows apart costs has a bound, whatever comes in. Which
/// are looked at depends on when they come and never on who gets them.
pub const LOOKS_PER_SECOND: u32 = 16_000;

/// Most looks in one tick of the kernel's clock.
pub const LOOKS_PER_TICK_MAX: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_have_windows_of_their_own_and_every_key_has_one() {
        assert_ne!(window_of(4096), window_of(4097));
        assert_eq!(window_of(u64::MAX), WINDOWS - 1);
        assert_eq!(window_of(7), window_of(7 + (1 << 16)));
    }
}
