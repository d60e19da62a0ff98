//! Binds and listens are told the same with the tracepoints of system calls and without, and by programs that read memory by
//! casts and through the helper, side by side: the same attempts, and the same events in all that both can know.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use reuse_tests::{
    attempts::Tally,
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    effort,
    generator::{self, Calls},
    kernel,
    namespace::Namespace,
    skip,
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
    let (calls, listeners) = namespace.run(make_calls)?;
    let (mut told, inferred) = (events_of(&calls, &exact)?, events_of(&calls, &light)?);
    forget_ports_not_looked_for(&listeners, &mut told, &inferred)?;
    assert_same(&told, &inferred);
    Ok(())
}

/// Both with the tracepoints and without: what the walk reads before a decision it reads after one as well.
#[test]
fn calls_are_told_the_same_by_casts_and_by_the_helper() -> Result<()> {
    if skip::daemon_binary()?.is_none() {
        return Ok(());
    }
    if !casts()? {
        ensure!(!kernel::is_at_least(6, 12)?, "this kernel lets programs cast");
        effort::say("this kernel lets no program cast: both daemons read through the helper");
    }
    for syscalls in ["--trace.syscalls=true", "--trace.syscalls=false"] {
        let Some(by_cast) = Launch::prepare()? else { return Ok(()) };
        let Some(by_helper) = Launch::prepare()? else { return Ok(()) };
        let namespace = Namespace::new("casts")?;
        let by_cast = by_cast.flags(["--events.repeats", "all", syscalls]).start()?;
        let avoid = ["--events.repeats", "all", "--trace.avoid", "rdonly_cast", syscalls];
        let by_helper = by_helper.flags(avoid).start()?;
        let (calls, listeners) = namespace.run(make_calls)?;
        let (mut told, mut same) = (events_of(&calls, &by_cast)?, events_of(&calls, &by_helper)?);
        forget_ports_not_looked_for(&listeners, &mut told, &same)?;
        forget_ports_not_looked_for(&listeners, &mut same, &told)?;
        assert_same(&told, &same);
    }
    Ok(())
}

/// Whether the daemon's programs cast here.
fn casts() -> Result<bool> {
    let binary = skip::daemon_binary()?.context("no daemon")?;
    let output = Command::new(binary).args(["doctor", "--json"]).output()?;
    let said: Value = serde_json::from_slice(&output.stdout).context("what the doctor says")?;
    let lacks = said["lacks"].as_array().context("what this kernel lacks")?;
    Ok(lacks.iter().all(|lack| lack["capability"] != "rdonly_cast"))
}

fn make_calls() -> Result<(Calls, Vec<Socket>)> {
    let mut calls = Calls::default();
    let listeners = listen_anywhere(&mut calls)?;
    listen_twice(&mut calls)?;
    calls.merge(&generator::binds(BINDS, REFUSED)?);
    Ok((calls, listeners))
}

/// What a daemon told of these calls, which must be all of them.
fn events_of(calls: &Calls, daemon: &Daemon) -> Result<BTreeMap<u64, Vec<Value>>> {
    let of = |tally: &Tally| tally.total(|_| true);
    let told = settled(daemon, of(&calls.binds) + of(&calls.listens))?;
    let Told { binds, listens, .. } = Told::by_events(&told);
    assert_eq!(binds, calls.binds, "binds: {binds}made:\n{}", calls.binds);
    assert_eq!(listens, calls.listens, "listens: {listens}made:\n{}", calls.listens);
    by_socket(told)
}

fn assert_same(expected: &BTreeMap<u64, Vec<Value>>, told: &BTreeMap<u64, Vec<Value>>) {
    assert_eq!(expected.len(), told.len(), "sockets");
    for (inode, expected) in expected {
        assert_eq!(told.get(inode), Some(expected), "socket {inode}");
    }
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
