//! Binds and listens are told the same with the tracepoints of system calls and without, side by side: the same attempts, and
//! the same events in all that both can know.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use reuse_tests::{
    attempts::Tally,
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    generator::{self, Calls},
    namespace::Namespace,
    sockets::{self, Transport, family_name},
    ways::agreement::{self, Told},
};
use serde_json::Value;
use socket2::Socket;

const BINDS: u64 = 240;
const REFUSED: u64 = 90;
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// When the program that told it ran.
const MOMENT: [&str; 2] = ["time", "boottime_ns"];
/// What the kernel answered is seen with the tracepoints, and inferred without.
const DIFFERENT: &str = "confidence";

/// Listens on ports that the kernel chooses.
fn listen_anywhere(calls: &mut Calls) -> Result<Vec<Socket>> {
    each_stream(|transport, ip| {
        let socket = sockets::open(transport, ip)?;
        listen(calls, transport, &socket).context("the kernel chooses a port")?;
        Ok(socket)
    })
}

/// Has two sockets of each kind bind one port, of which one may listen.
fn listen_twice(calls: &mut Calls) -> Result<()> {
    each_stream(|transport, ip| {
        let mut address = SocketAddr::new(ip, 0);
        let mut bound = || -> Result<Socket> {
            let socket = sockets::open(transport, ip)?;
            socket.set_reuse_address(true)?;
            let outcome = socket.bind(&address.into());
            calls.binds.record(family_name(ip), transport.name(), outcome).context("both may bind")?;
            address = sockets::local_address(&socket)?;
            Ok(socket)
        };
        let (holder, contender) = (bound()?, bound()?);
        listen(calls, transport, &holder)?;
        ensure!(listen(calls, transport, &contender).is_err(), "two listen on {address}");
        Ok(())
    })
    .map(drop)
}

fn each_stream<T>(mut make: impl FnMut(Transport, IpAddr) -> Result<T>) -> Result<Vec<T>> {
    let kinds = [Transport::Tcp, Transport::Mptcp].into_iter().flat_map(|of| LOOPBACKS.map(|ip| (of, ip)));
    kinds.map(|(transport, ip)| make(transport, ip)).collect()
}

fn listen(calls: &mut Calls, transport: Transport, socket: &Socket) -> Result<()> {
    let family = family_name(sockets::local_address(socket)?.ip());
    calls.listens.record(family, transport.name(), socket.listen(1)).context("listen")
}

/// The events of this process' calls.
fn own_calls(all: &[Arc<Value>]) -> Vec<Value> {
    let own = std::process::id();
    let is_call = |event: &&Value| ["bind", "listen", "conflict"].iter().any(|kind| event["type"] == *kind);
    let all = all.iter().map(AsRef::as_ref);
    all.filter(|event: &&Value| event["contender"]["pid"] == own).filter(is_call).cloned().collect()
}

/// The calls on each socket in their order, without what differs by the moment of telling.
fn by_socket(told: Vec<Value>) -> Result<BTreeMap<u64, Vec<Value>>> {
    let mut by_socket: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for mut event in told {
        let inode = event["contender"]["inode"].as_u64().with_context(|| format!("no inode in {event}"))?;
        let fields = event.as_object_mut().context("an event is an object")?;
        for field in MOMENT.into_iter().chain([DIFFERENT]) {
            fields.remove(field);
        }
        for holder in event["holders"].as_array_mut().into_iter().flatten() {
            holder["since"] = holder["since"].is_string().into();
            for owner in holder["owners"].as_array_mut().into_iter().flatten() {
                owner["fds"].take();
            }
        }
        by_socket.entry(inode).or_default().push(event);
    }
    Ok(by_socket)
}

/// Waits until a daemon has told that many calls of this process, and everything else that it counted.
fn settled(daemon: &Daemon, calls: u64) -> Result<Vec<Value>> {
    deadline::until(&format!("{calls} events"), PROMPT, || {
        Ok((own_calls(&daemon.events()?).len() as u64 >= calls).then_some(()))
    })?;
    Ok(own_calls(&agreement::settle(daemon)?))
}

#[test]
fn calls_are_told_the_same_with_their_tracepoints_and_without() -> Result<()> {
    let Some(exact) = Launch::prepare()? else { return Ok(()) };
    let Some(light) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("calls")?;
    let exact = exact.flags(["--events.repeats", "all"]).start()?;
    let light = light.flags(["--events.repeats", "all", "--trace.syscalls=false"]).start()?;
    let (calls, listeners) = namespace.run(|| {
        let mut calls = Calls::default();
        let listeners = listen_anywhere(&mut calls)?;
        listen_twice(&mut calls)?;
        calls.merge(&generator::binds(BINDS, REFUSED)?);
        Ok((calls, listeners))
    })?;

    let of = |tally: &Tally| tally.total(|_| true);
    let made = of(&calls.binds) + of(&calls.listens);
    let (told, inferred) = (settled(&exact, made)?, settled(&light, made)?);
    for (told, name) in [(&told, "with"), (&inferred, "without")] {
        let Told { binds, listens, .. } = Told::by_events(told);
        assert_eq!(binds, calls.binds, "binds {name}: {binds}made:\n{}", calls.binds);
        assert_eq!(listens, calls.listens, "listens {name}: {listens}made:\n{}", calls.listens);
    }
    let (mut told, inferred) = (by_socket(told)?, by_socket(inferred)?);
    forget_ports_not_looked_for(&listeners, &mut told, &inferred)?;
    assert_eq!(told.len(), inferred.len(), "sockets");
    for (inode, expected) in &told {
        assert_eq!(inferred.get(inode), Some(expected), "socket {inode}");
    }
    Ok(())
}

/// Without the tracepoints the port that a listen chose is looked for once there is one, as long as the process has not
/// caused too many such searches: the first has it, the others may.
fn forget_ports_not_looked_for(
    listeners: &[Socket],
    told: &mut BTreeMap<u64, Vec<Value>>,
    inferred: &BTreeMap<u64, Vec<Value>>,
) -> Result<()> {
    for (number, listener) in listeners.iter().enumerate() {
        let inode = sockets::inode(listener)?;
        let events = inferred.get(&inode).into_iter().flatten();
        for (expected, event) in told.get_mut(&inode).into_iter().flatten().zip(events) {
            if event["contender"]["port"] == 0 {
                ensure!(number > 0, "no port in {event}");
                for field in ["port", "bound_port"] {
                    expected["contender"][field] = 0.into();
                }
            }
        }
    }
    Ok(())
}
