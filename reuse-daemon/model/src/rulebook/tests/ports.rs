//! Random ports with several sockets.

use proptest::{prelude::*, sample::select};

use super::{
    super::remedy::{Step, alternatives_together},
    pairs::{apply, occupants, port_of},
    *,
};

const ADDRESSES: [&str; 8] =
    ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::2", "::ffff:127.0.0.1", "::ffff:0.0.0.0"];

fn any_contender(transport: Transport) -> impl Strategy<Value = Contender> {
    let groups = select(vec![(false, false), (false, false), (false, false), (true, false), (true, true)]);
    let (reuse, reuseport) = (select(vec![Reuse::No, Reuse::Yes]), any::<bool>());
    (select(&ADDRESSES[..]), any::<bool>(), 0..3_u32, select(vec![0, 1000]), reuse, reuseport, groups)
        .prop_map(move |(address, v6only, device, uid, reuse, reuseport, (in_group, group_has_closed))| {
            let asking = contender(address);
            let mapped = matches!(address, "::ffff:127.0.0.1" | "::ffff:0.0.0.0");
            let v6only = v6only && asking.family == Family::Ipv6 && !mapped;
            Contender {
                transport,
                v6only,
                device,
                uid,
                reuse,
                reuseport,
                in_group,
                group_has_closed,
                ..asking
            }
        })
}

fn any_occupant(transport: Transport) -> impl Strategy<Value = Occupant> {
    let kinds = occupants(transport).into_iter().filter(|kind| kind.uid != Some(1001)).collect::<Vec<_>>();
    (select(&ADDRESSES[..]), any::<bool>(), 0..3_u32, select(kinds)).prop_map(
        move |(address, v6only, device, kind)| {
            let at = occupant(address);
            let v6only = at.v6only || (v6only && address == "::");
            Occupant { family: at.family, address: at.address, v6only, device, ..kind }
        },
    )
}

fn any_port(transport: Transport) -> impl Strategy<Value = Port> {
    let bucket = (-1..2_i8, -1..3_i8, select(vec![0, 1000]), select(&ADDRESSES[..]));
    (prop::collection::vec(any_occupant(transport), 0..6), prop::option::of(bucket)).prop_map(
        move |(occupants, fast)| {
            let mut port = port_of(transport, occupants);
            if let (Table::Tcp(Some(bucket)), Some((fastreuse, fastreuseport, fastuid, address))) =
                (&mut port.table, fast)
            {
                let (family, address) = of(address);
                let fast_address = FastAddress { family, address, v6only: false };
                *bucket = Bucket { fastreuse, fastreuseport, fastuid, fast_address, wildcard_family: None };
            }
            port
        },
    )
}

fn any_case() -> impl Strategy<Value = (Contender, Port)> {
    select(vec![Transport::Tcp, Transport::Udp])
        .prop_flat_map(|transport| (any_contender(transport), any_port(transport)))
}

fn without(port: &Port, gone: impl Fn(usize) -> bool) -> Port {
    let kept = (0..).zip(&port.occupants).filter(|(place, _)| !gone(*place));
    Port { occupants: kept.map(|(_, occupant)| occupant.clone()).collect(), ..port.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn one_remedy_for_each_holder_lets_the_contender_in(
        (asking, port) in any_case(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 6),
    ) {
        let decision = decide(&kernel(), Request::Bind, &asking, &port);
        if !decision.refused {
            return Ok(());
        }
        let ways = alternatives_together(&kernel(), &asking, &port, &decision.blockers);
        prop_assert_eq!(ways.len(), decision.blockers.len());
        let chosen: Vec<(usize, Vec<Step>)> = decision
            .blockers
            .iter()
            .zip(&ways)
            .zip(&picks)
            .map(|((blocker, ways), pick)| (blocker.occupant, pick.get(ways).clone()))
            .collect();
        let (mut remedied, mut after) = (asking.clone(), port.clone());
        apply(&mut remedied, &mut after, &chosen);
        let answer = decide(&kernel(), Request::Bind, &remedied, &after);
        prop_assert!(!answer.refused, "{chosen:?} left {answer:?}");
    }

    #[test]
    fn without_its_blockers_a_port_is_free((asking, port) in any_case()) {
        let decision = decide(&kernel(), Request::Bind, &asking, &port);
        let blocks = |place| decision.blockers.iter().any(|blocker| blocker.occupant == place);
        let free = decide(&kernel(), Request::Bind, &asking, &without(&port, blocks));
        prop_assert!(!free.refused && free.blockers.is_empty(), "{free:?}");
    }

    #[test]
    fn who_does_not_block_a_tcp_port_does_not_matter(
        asking in any_contender(Transport::Tcp),
        port in any_port(Transport::Tcp),
        request in select(vec![Request::Bind, Request::Listen]),
    ) {
        let decision = decide(&kernel(), request, &asking, &port);
        let blocks = |place| decision.blockers.iter().any(|blocker| blocker.occupant == place);
        let alone = decide(&kernel(), request, &asking, &without(&port, |place| !blocks(place)));
        prop_assert_eq!(alone.refused, decision.refused);
        let rules = |decision: &Decision| decision.blockers.iter().map(|b| b.rule).collect::<Vec<_>>();
        prop_assert_eq!(rules(&alone), rules(&decision));
        prop_assert_eq!(decision.refused, !decision.blockers.is_empty() && decision.exemption.is_none());
    }

    #[test]
    fn what_comes_after_the_deciding_udp_socket_does_not_matter(
        asking in any_contender(Transport::Udp),
        port in any_port(Transport::Udp),
    ) {
        let decision = decide(&kernel(), Request::Bind, &asking, &port);
        prop_assert_eq!(decision.refused, decision.decided_by.is_some());
        prop_assert_eq!(decision.decided_by, decision.blockers.first().map(|first| first.occupant)
            .filter(|_| decision.refused));
        if let Some(deciding) = decision.decided_by {
            let before = decide(&kernel(), Request::Bind, &asking, &without(&port, |place| place >= deciding));
            prop_assert!(!before.refused);
            let up_to = decide(&kernel(), Request::Bind, &asking, &without(&port, |place| place > deciding));
            prop_assert_eq!(up_to.decided_by, Some(deciding));
        }
    }

    #[test]
    fn a_listen_meets_whom_the_bind_met(asking in any_contender(Transport::Tcp), port in any_port(Transport::Tcp)) {
        // As bind() leaves it.
        let pure_ipv6 = asking.address.to_canonical().is_ipv6() && !asking.address.is_unspecified();
        let asking = Contender { v6only: asking.v6only || pure_ipv6, ..asking };
        let bind = decide(&kernel(), Request::Bind, &asking, &port);
        let listen = decide(&kernel(), Request::Listen, &asking, &port);
        prop_assert_eq!(bind.blockers, listen.blockers);
    }
}
