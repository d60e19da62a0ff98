//! Who excludes whom where no user and no traffic matters: addresses, wildcards, SO_REUSEADDR.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{
    finding::Finding,
    namespace::Private,
    socket::{Spec, TCP, UDP},
};

pub(super) fn same_address(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for spec in [TCP, UDP] {
        let at = namespace.address();
        let _holder = spec.hold(at)?;
        let second = spec.bind(at)?;
        finding.claimed(!second.succeeded(), format!("{second}, over the same"));
    }
    Ok(finding)
}

pub(super) fn distinct_ports(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for spec in [TCP, UDP] {
        let at = namespace.address();
        let _holder = spec.hold(at)?;
        let second = spec.bind(namespace.address())?;
        finding.claimed(second.succeeded(), format!("{second}, beside {at}"));
    }
    Ok(finding)
}

pub(super) fn distinct_addresses(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for spec in [TCP, UDP] {
        let at = namespace.address();
        let _holder = spec.hold(at)?;
        let second = spec.bind(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), at.port()))?;
        finding.claimed(second.succeeded(), format!("{second}, beside {at}"));
    }
    Ok(finding)
}

pub(super) fn wildcard(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for spec in [TCP, UDP] {
        for (at, holder) in both_orders(namespace) {
            let _holder = spec.hold(holder)?;
            let second = spec.bind(at)?;
            finding.claimed(!second.succeeded(), format!("{second}, over {holder}"));
        }
    }
    Ok(finding)
}

pub(super) fn wildcard_bound(namespace: &Private) -> anyhow::Result<Finding> {
    shared_by_reuseaddr(namespace, TCP)
}

pub(super) fn wildcard_udp(namespace: &Private) -> anyhow::Result<Finding> {
    shared_by_reuseaddr(namespace, UDP)
}

fn shared_by_reuseaddr(namespace: &Private, spec: Spec) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let spec = spec.reuseaddr();
    for (at, holder) in both_orders(namespace) {
        let _holder = spec.hold(holder)?;
        let second = spec.bind(at)?;
        finding.claimed(second.succeeded(), format!("{second}, beside {holder}"));
    }
    Ok(finding)
}

pub(super) fn wildcard_listening(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let spec = TCP.reuseaddr();
    for (at, listener) in both_orders(namespace) {
        let holder = spec.hold(listener)?;
        let (listens, text) = holder.listen()?;
        anyhow::ensure!(listens, "{text}, though nothing here has that port");
        let second = spec.bind(at)?;
        finding.claimed(second.succeeded(), format!("{second}, over the listener {listener}"));
    }
    // Both bound first, which is allowed: then the second listen is asked.
    let (at, other) = wildcard_and_specific(namespace);
    let (first, second) = (spec.hold(at)?, spec.hold(other)?);
    let (listens, text) = first.listen()?;
    anyhow::ensure!(listens, "{text}, though nobody listens on that port");
    let (listens, text) = second.listen()?;
    finding.claimed(listens, format!("both bound first, {at} listens; then {text}"));
    Ok(finding)
}

fn wildcard_and_specific(namespace: &Private) -> (SocketAddrV4, SocketAddrV4) {
    let specific = namespace.address();
    (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, specific.port()), specific)
}

fn both_orders(namespace: &Private) -> [(SocketAddrV4, SocketAddrV4); 2] {
    let (wildcard, specific) = wildcard_and_specific(namespace);
    let (other_wildcard, other_specific) = wildcard_and_specific(namespace);
    [(wildcard, specific), (other_specific, other_wildcard)]
}
