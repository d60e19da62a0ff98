//! UDP: the first overlapping socket of a scan decides (net/ipv4/udp.c, `udp_lib_get_port`).

use super::{Blocker, Contender, Decision, Exemption, Kernel, address::Local, pair::Pair};
use crate::port::{Occupant, Port, UdpScan};

/// Decides a `bind`.
pub(super) fn decide(
    kernel: &Kernel,
    contender: &Contender,
    port: &Port,
    scan: UdpScan,
    slot: u32,
) -> Decision {
    let local = Local::of_contender(contender);
    let asked = |occupant: &Occupant| {
        let theirs = Local::of_occupant(occupant);
        local.overlaps(&theirs)
            && contender.shares_device(occupant)
            // Two that set SO_REUSEADDR pass each other over; the scan goes on.
            && !(contender.reuse.is_set() && occupant.reuse.is_set())
            && (!scans_wildcards_only(kernel, &local, slot) || theirs.is_wildcard())
    };
    let blocker = |(place, occupant): (usize, &Occupant)| {
        let rule = Pair { kernel, contender, occupant }.rule()?;
        Some(Blocker {
            occupant: place,
            rule,
            overlap: Local::overlap(&Local::of_occupant(occupant), &local),
        })
    };
    let candidates: Vec<(usize, &Occupant)> =
        (0..).zip(&port.occupants).filter(|(_, occupant)| asked(occupant)).collect();
    // With two lists the first candidate of each is asked.
    let wildcards = candidates
        .iter()
        .position(|(_, occupant)| scan == UdpScan::Address && Local::of_occupant(occupant).is_wildcard())
        .unwrap_or(candidates.len());
    let (exact, any) = candidates.split_at(wildcards);
    let deciding =
        exact.first().copied().and_then(blocker).or_else(|| any.first().copied().and_then(blocker));
    let rest = candidates.iter().copied().filter_map(blocker).filter(|other| deciding != Some(*other));
    let blockers: Vec<Blocker> = deciding.into_iter().chain(rest).collect();
    let passed = deciding.is_none() && !blockers.is_empty();
    Decision {
        refused: deciding.is_some(),
        decided_by: deciding.map(|blocker| blocker.occupant),
        exemption: passed.then_some(Exemption::ScanOrder),
        blockers,
    }
}

/// Kernels before the fix look for a wildcard among the wildcards alone once the slot holds more than 10 sockets, and
/// miss every specific address.
fn scans_wildcards_only(kernel: &Kernel, local: &Local, slot: u32) -> bool {
    !kernel.udp_wildcard_scans_port && local.is_wildcard() && slot > 10
}
