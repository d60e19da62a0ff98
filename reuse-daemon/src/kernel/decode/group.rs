//! A SO_REUSEPORT group as one member's row shows it.

use reuse_ebpf::group::{Program, RawGroup};
use reuse_model::socket::{GroupFacts, Selector, State};

/// What a row says of the group of a socket in that state.
pub(super) fn facts(raw: &RawGroup, state: State) -> Option<GroupFacts> {
    if raw.exists != 1 {
        return None;
    }
    // The kernel keeps there the CPU that a connected socket received on last, whatever was set (net/ipv4/udp.c,
    // `__udp_queue_rcv_skb`).
    let is_set = state != State::Connected && raw.incoming_cpu.cast_signed() >= 0;
    Some(GroupFacts {
        selector: selector(raw),
        members: raw.members,
        index: (raw.index != RawGroup::NOT_FOUND).then_some(raw.index),
        has_connected: raw.has_connected == 1,
        incoming_cpu: is_set.then_some(raw.incoming_cpu),
    })
}

/// A program comes first; the hash stands in for one that picks nobody, and then heeds the CPU.
fn selector(raw: &RawGroup) -> Selector {
    const CLASSIC: u8 = Program::Classic as u8;
    const EBPF: u8 = Program::Ebpf as u8;
    match raw.program {
        CLASSIC => Selector::ClassicBpf,
        EBPF => Selector::Ebpf,
        _ if raw.heeds_cpu == 1 => Selector::IncomingCpu,
        _ => Selector::Hash,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: RawGroup =
        RawGroup { members: 3, index: 2, incoming_cpu: u32::MAX, exists: 1, ..RawGroup::NONE };

    fn of(raw: RawGroup) -> GroupFacts {
        facts(&raw, State::Listen).expect("a group")
    }

    #[test]
    fn a_socket_without_a_group_has_no_facts() {
        assert_eq!(facts(&RawGroup::NONE, State::Listen), None);
        let plain = GroupFacts { selector: Selector::Hash, members: 3, index: Some(2), ..of(RAW) };
        assert_eq!(of(RAW), plain);
        assert_eq!(of(RawGroup { index: RawGroup::NOT_FOUND, ..RAW }).index, None);
    }

    #[test]
    fn a_program_comes_before_the_cpu_and_that_before_the_hash() {
        let heeding = RawGroup { heeds_cpu: 1, ..RAW };
        assert_eq!(of(heeding).selector, Selector::IncomingCpu);
        for (program, selector) in [(Program::Classic, Selector::ClassicBpf), (Program::Ebpf, Selector::Ebpf)]
        {
            assert_eq!(of(RawGroup { program: program as u8, ..heeding }).selector, selector);
        }
    }

    #[test]
    fn the_cpu_of_a_connected_socket_was_not_set() {
        let raw = RawGroup { incoming_cpu: 1, has_connected: 1, ..RAW };
        assert_eq!(of(raw).incoming_cpu, Some(1));
        assert_eq!(of(RAW).incoming_cpu, None);
        let connected = facts(&raw, State::Connected).expect("a group");
        assert_eq!((connected.incoming_cpu, connected.has_connected), (None, true));
    }
}
