//! TCP: the bind bucket's memory, then every socket of the port (net/ipv4/inet_connection_sock.c, `inet_csk_get_port`).

use super::{
    Blocker, Contender, Decision, Exemption, Kernel, Request,
    address::{Kind, Local},
    pair::Pair,
};
use crate::{
    endpoint::Family,
    port::{Bucket, FastAddress, Occupant, Port, Reuse},
    socket::State,
};

/// `FASTREUSEPORT_ANY`
const ANY: i8 = 1;
/// `FASTREUSEPORT_STRICT`
const STRICT: i8 = 2;

/// Decides a `bind`, or a `listen`, which asks the same function again in state LISTEN.
pub(super) fn decide(
    kernel: &Kernel,
    request: Request,
    contender: &Contender,
    port: &Port,
    bucket: Option<&Bucket>,
) -> Decision {
    let local = Local::of_contender(contender);
    let blockers: Vec<Blocker> = (0..)
        .zip(&port.occupants)
        .filter_map(|(place, occupant)| {
            let pair = Pair { kernel, contender, occupant };
            let rule = meets(kernel, &local, contender, occupant, bucket).then(|| pair.rule()).flatten()?;
            let overlap = Local::overlap(&Local::of_occupant(occupant), &local);
            Some(Blocker { occupant: place, rule, overlap })
        })
        .collect();
    let exemption = bucket
        .filter(|_| !blockers.is_empty())
        .and_then(|bucket| exemption(contender, request, &local, bucket));
    Decision { refused: !blockers.is_empty() && exemption.is_none(), blockers, decided_by: None, exemption }
}

/// Whether the kernel asks this socket at all.
fn meets(
    kernel: &Kernel,
    local: &Local,
    contender: &Contender,
    occupant: &Occupant,
    bucket: Option<&Bucket>,
) -> bool {
    let theirs = Local::of_occupant(occupant);
    let overlaps = if by_address(kernel, local) {
        let listed = occupant.state != State::TimeWait || kernel.time_wait_by_address;
        let family = bucket.and_then(|bucket| bucket.wildcard_family).unwrap_or(occupant.family);
        listed && shares_bucket(kernel, local, &theirs, family)
    } else {
        local.overlaps(&theirs)
    };
    overlaps && contender.shares_device(occupant)
}

/// `inet_use_bhash2_on_bind`: a specific address is looked up, a wildcard meets every socket of the port.
fn by_address(kernel: &Kernel, local: &Local) -> bool {
    let mapped = local.is_ipv6_socket() && local.kind() == Kind::Mapped;
    kernel.buckets_by_address && !local.is_wildcard() && (!mapped || kernel.mapped_by_address)
}

/// Whether the other is in one of the buckets of a specific address: its own and those of the wildcards
/// (`inet_bind2_bucket_addr_match`, `inet_bind2_bucket_match_addr_any`), and is not passed over there
/// (`__inet_bhash2_conflict`). `wildcard_family` is that of the bucket for all IPv4 addresses.
fn shares_bucket(kernel: &Kernel, local: &Local, theirs: &Local, wildcard_family: Family) -> bool {
    let pure_ipv6 = local.kind() == Kind::Other;
    let seen = match (local.is_ipv6_socket(), theirs.is_ipv6_socket(), theirs.kind()) {
        (false, true, Kind::Any) => kernel.ipv4_sees_ipv6_wildcard,
        (false, true, Kind::Mapped) => kernel.ipv4_sees_mapped,
        (true, _, Kind::Mapped) if theirs.is_wildcard() => {
            kernel.mapped_sees_mapped_wildcard || wildcard_family == Family::Ipv4
        }
        _ => true,
    };
    let wildcard = match theirs.kind() {
        Kind::Any => true,
        Kind::Mapped => theirs.is_wildcard() && !pure_ipv6,
        Kind::Other => false,
    };
    let meets_v6only = pure_ipv6 || (kernel.mapped_sees_v6only && local.is_ipv6_socket());
    seen && (wildcard || theirs.key() == local.key()) && (meets_v6only || !theirs.is_v6only())
}

/// What lets a contender pass unchecked on a port that has sockets.
fn exemption(contender: &Contender, request: Request, local: &Local, bucket: &Bucket) -> Option<Exemption> {
    if contender.reuse == Reuse::Forced {
        Some(Exemption::Repair)
    } else if (bucket.fastreuse > 0 && reuses(contender, request)) || matches(contender, local, bucket) {
        Some(Exemption::BucketCache)
    } else {
        None
    }
}

/// `reuse` of `inet_csk_get_port`: SO_REUSEADDR counts for a socket that does not listen.
fn reuses(contender: &Contender, request: Request) -> bool {
    contender.reuse.is_set() && request == Request::Bind
}

/// `sk_reuseport_match`
fn matches(contender: &Contender, local: &Local, bucket: &Bucket) -> bool {
    bucket.fastreuseport > 0
        && contender.reuseport
        && !contender.in_group
        && bucket.fastuid == contender.uid
        && (bucket.fastreuseport == ANY || Local::of_fast(&bucket.fast_address).matches(local, true, false))
}

/// The bucket once the bind of `contender` succeeded (`inet_csk_update_fastreuse`).
pub(super) fn remember(kernel: &Kernel, contender: &Contender, bucket: Option<Bucket>) -> Bucket {
    let local = Local::of_contender(contender);
    let reuse = reuses(contender, Request::Bind);
    let fast_address =
        FastAddress { family: contender.family, address: contender.address, v6only: local.is_v6only() };
    let on_wildcard = local.kind() == Kind::Mapped && local.is_wildcard();
    let wildcard_family =
        bucket.and_then(|bucket| bucket.wildcard_family).or_else(|| on_wildcard.then_some(contender.family));
    let set = |fastreuse, fastreuseport| Bucket {
        fastreuse,
        fastreuseport,
        fastuid: contender.uid,
        fast_address,
        wildcard_family,
    };
    match bucket {
        None if kernel.first_bind_opens_bucket => {
            set(i8::from(reuse), if contender.reuseport { ANY } else { 0 })
        }
        None => set(0, if contender.reuseport { STRICT } else { 0 }),
        Some(bucket) => {
            let fastreuse = if reuse { bucket.fastreuse } else { 0 };
            if !contender.reuseport {
                Bucket { fastreuse, fastreuseport: 0, wildcard_family, ..bucket }
            } else if matches(contender, &local, &bucket) {
                Bucket { fastreuse, wildcard_family, ..bucket }
            } else {
                set(fastreuse, STRICT)
            }
        }
    }
}
