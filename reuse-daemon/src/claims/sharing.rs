//! Who may share a port: how many, with which options, of which user.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4},
};

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::Socket;

use super::{
    Extent,
    finding::Finding,
    namespace::Private,
    parking::{AT_ONCE, Parking},
    socket::{Spec, TCP, UDP, refusal},
    time_wait,
    user::STRANGER,
};

/// Sockets of one group that are made without `--slow`: each is an event to whoever traces binds
const MANY: usize = 2_000;
/// Sockets with `--slow`: more than a group holds, whose array doubles from 128 as long as its length fits 16 bits
/// (net/core/sock_reuseport.c, `reuseport_grow`)
const MORE_THAN_A_GROUP: usize = 70_000;
/// Descriptors that are needed beside them
const SPARE: u64 = 64;

pub(super) fn any_number(namespace: &Private, extent: Extent) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let wanted = raise_descriptors(MANY)?;
    for spec in [TCP.reuseport(), UDP.reuseport()] {
        let at = namespace.address();
        let transport = spec.transport.as_str();
        let group = fill(spec, at, wanted)?;
        finding.claimed(
            group.len() == wanted,
            format!("{} of {wanted} {transport} sockets bound {at}", group.len()),
        );
        let plain = Spec { reuseport: false, ..spec }.bind(at)?;
        finding.exception(
            !plain.succeeded(),
            format!("{plain}, over {} sockets with SO_REUSEPORT", group.len()),
        );
    }
    if extent.slow {
        let at = namespace.address();
        let members = most(UDP.reuseport(), at)?;
        let refused = members < MORE_THAN_A_GROUP;
        let end = if refused { "one more: EADDRINUSE" } else { "none was refused" };
        finding.exception(refused, format!("{members} udp sockets bound {at}; {end}"));
    } else {
        finding.note("the most that a group holds is looked for with --slow");
    }
    Ok(finding)
}

/// How many sockets bind one address until one is refused, or there are [`MORE_THAN_A_GROUP`].
fn most(spec: Spec, at: SocketAddrV4) -> anyhow::Result<usize> {
    let mut parking = Parking::default();
    let mut members = 0;
    while members < MORE_THAN_A_GROUP {
        let more = fill(spec, at, AT_ONCE)?;
        members += more.len();
        if more.len() < AT_ONCE {
            break;
        }
        parking.park(&more).context("cannot keep so many sockets open")?;
    }
    Ok(members)
}

/// Binds sockets to one address until one is refused, or there are `most`.
fn fill(spec: Spec, at: SocketAddrV4, most: usize) -> anyhow::Result<Vec<Socket>> {
    let mut group = Vec::with_capacity(most);
    while group.len() < most {
        let socket = spec.open()?;
        if refusal(socket.bind(&at.into())).with_context(|| format!("cannot bind {at}"))?.is_some() {
            break;
        }
        group.push(socket);
    }
    Ok(group)
}

/// Raises the limit of open files as far as is needed and allowed; how many sockets it leaves room for.
fn raise_descriptors(wanted: usize) -> anyhow::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    let needed = wanted as u64 + SPARE;
    // Above the hard limit only with CAP_SYS_RESOURCE.
    let allowed = [needed, needed.min(hard)]
        .into_iter()
        .find(|limit| *limit <= soft || setrlimit(Resource::RLIMIT_NOFILE, *limit, hard.max(*limit)).is_ok());
    let limit = allowed.unwrap_or(soft).max(soft);
    Ok(wanted.min(usize::try_from(limit.saturating_sub(SPARE)).unwrap_or(usize::MAX)))
}

pub(super) fn all_must_set(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for spec in [TCP, UDP] {
        let at = namespace.address();
        let _holder = spec.hold(at)?;
        let second = spec.reuseport().bind(at)?;
        finding.claimed(!second.succeeded(), format!("{second}, over one without it"));
        let at = namespace.address();
        let _holder = spec.reuseport().hold(at)?;
        let second = spec.reuseport().bind(at)?;
        finding.claimed(second.succeeded(), format!("{second}, beside one with it"));
    }
    // The bind bucket remembers the last socket with SO_REUSEPORT and lets in who is like it (net/ipv4/
    // inet_connection_sock.c, `sk_reuseport_match`).
    let at = namespace.address();
    let _first = TCP.reuseaddr().hold(at)?;
    let _second = TCP.reuseaddr().reuseport().hold(at)?;
    let third = TCP.reuseport().bind(at)?;
    finding.exception(
        third.succeeded(),
        format!("{third}, beside one with SO_REUSEADDR alone and a later one with both"),
    );
    // The newest overlapping socket decides, the other is not asked (net/ipv4/udp.c, `udp_lib_lport_inuse`).
    let decides = namespace.address();
    let ignored = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), decides.port());
    let wildcard = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, decides.port());
    let _without = UDP.hold(ignored)?;
    let _with = UDP.reuseport().hold(decides)?;
    let third = UDP.reuseport().bind(wildcard)?;
    finding.exception(
        third.succeeded(),
        format!("{third}, over {ignored} without it and the newer {decides} with it"),
    );
    Ok(finding)
}

pub(super) fn same_uid(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for spec in [TCP.reuseport(), UDP.reuseport()] {
        let at = namespace.address();
        let _holder = spec.hold(at)?;
        let same = spec.bind(at)?;
        finding.claimed(same.succeeded(), format!("{same}, beside one of the same user"));
        let other = spec.of_user(STRANGER).bind(at)?;
        finding.claimed(!other.succeeded(), format!("{other}, over a socket of another user"));
    }
    let at = time_wait::leave(namespace, TCP.reuseport())?;
    let other = TCP.reuseport().of_user(STRANGER).bind(at)?;
    finding.exception(other.succeeded(), format!("{other}, over TIME_WAIT of another user's connection"));
    Ok(finding)
}

pub(super) fn udp_reuseaddr(namespace: &Private) -> anyhow::Result<Finding> {
    const DATAGRAMS: usize = 20;
    let mut finding = Finding::default();
    let at = namespace.address();
    let victim = UDP.reuseaddr().hold(at)?;
    let stranger = UDP.reuseaddr().of_user(STRANGER).bind(at)?;
    finding.claimed(!stranger.succeeded(), format!("{stranger}, over a socket of another user"));
    if stranger.succeeded() {
        let client = UDP.open()?;
        client.connect(&at.into())?;
        let (mut taken, mut kept) = (0, 0);
        for _ in 0..DATAGRAMS {
            client.send(b"x")?;
            taken += received(&stranger.socket)?;
            kept += received(&victim.socket)?;
        }
        finding.known(
            taken == DATAGRAMS && kept == 0,
            format!("of {DATAGRAMS} datagrams the stranger's socket, bound last, received {taken}, the first one {kept}"),
        );
    }
    let at = namespace.address();
    let _holder = UDP.reuseport().hold(at)?;
    let stranger = UDP.reuseport().of_user(STRANGER).bind(at)?;
    finding.known(!stranger.succeeded(), format!("{stranger}: that is the option which asks for the user"));
    Ok(finding)
}

/// Datagrams that wait at a socket; over loopback they are there once they are sent.
fn received(socket: &Socket) -> anyhow::Result<usize> {
    socket.set_nonblocking(true)?;
    let mut count = 0;
    loop {
        match socket.recv(&mut [std::mem::MaybeUninit::uninit(); 8]) {
            Ok(_) => count += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count),
            Err(error) => return Err(error.into()),
        }
    }
}
