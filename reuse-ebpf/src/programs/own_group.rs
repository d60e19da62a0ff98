//! The program on the daemon's own SO_REUSEPORT groups: it sees the kernel's hash and decides nothing.

use aya_ebpf::{bindings::sk_action::SK_PASS, macros::sk_reuseport, programs::SkReuseportContext};
use reuse_ebpf::count::{Lost, ProbeKey};

use super::{emit::count_lost, maps::PROBES};

const ETH_P_IPV6: u16 = 0x86dd;

/// Notes the hash of a probe under its source port. Passing without a choice leaves it to the hash
/// (net/core/sock_reuseport.c, `reuseport_select_sock`).
#[sk_reuseport]
pub(crate) fn own_group(ctx: SkReuseportContext) -> u32 {
    // The data begins at the TCP or UDP header, whose first two bytes are the source port.
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + 2 > end {
        return SK_PASS;
    }
    // SAFETY: just checked to be within the packet.
    let port = u16::from_be(unsafe { (start as *const u16).read_unaligned() });
    let version = if u16::from_be(ctx.eth_protocol() as u16) == ETH_P_IPV6 { 6 } else { 4 };
    let key = ProbeKey { protocol: ctx.ip_protocol() as u8, version, port };
    if PROBES.insert(key, ctx.hash(), 0).is_err() {
        count_lost(Lost::ProbeMap);
    }
    SK_PASS
}
