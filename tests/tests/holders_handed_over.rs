//! Sockets that are not with who made them: passed on, inherited, shared, and in a container. Who has them open is told.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result};
use reuse_tests::{
    actor::{self, Actor},
    cgroup::Group,
    conflicts::{self, assert_counted, assert_exact, assert_owners, only_holder, people},
    daemon::Daemon,
    deadline::{self, PROMPT},
    events::assert_fields,
    sockets::{self, Transport},
};
use serde_json::{Value, json};
use socket2::Socket;

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn contender() -> Result<Socket> {
    sockets::open(Transport::Tcp, LOOPBACK.into())
}

/// The refusal of another bind to the port of `facts`, which must have one holder, the socket of `facts`.
fn refused(daemon: &Daemon, facts: &Value) -> Result<Value> {
    let port = u16::try_from(facts["port"].as_u64().context("a port")?)?;
    let event = conflicts::bind(daemon, &contender()?, SocketAddr::from((LOOPBACK, port)))?;
    assert_exact(&event, "holder_is_listening", &["top the listener"]);
    assert_fields(only_holder(&event), facts);
    Ok(event)
}

/// Waits until a process, by its pid, runs `sleep`, and does: its exec() is over.
fn until_asleep(pid: &Value) -> Result<u64> {
    let pid = pid.as_u64().context("a pid")?;
    deadline::until("it sleeps", PROMPT, || {
        // The name in parentheses, then the state: proc(5).
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(stat.contains(" (sleep) S ").then_some(pid))
    })
}

/// Has `sender` make a listener and pass it to `receiver` (SCM_RIGHTS): what the receiver sees of it.
fn hand_over(sender: &mut Actor, receiver: &mut Actor) -> Result<Value> {
    let name = format!("rt-hand-over-{}", receiver.pid());
    receiver.run(&format!("door = socket(AF_UNIX); door.bind('\\0{name}'); door.listen()"))?;
    sender.run("h = listening('127.0.0.1', 0)")?;
    let made = sender.facts("h")?;
    sender.run(&format!(
        "to = socket(AF_UNIX); to.connect('\\0{name}'); send_fds(to, [b'x'], [h.fileno()]); to.close()"
    ))?;
    receiver.run("of, _ = door.accept(); h = socket(fileno=recv_fds(of, 1, 1)[1][0]); of.close()")?;
    let received = receiver.facts("h")?;
    assert_eq!(made, received, "one socket");
    Ok(received)
}

#[test]
fn a_socket_passed_on_belongs_to_who_received_it() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut sender = Actor::start("rt-sender")?;
    let mut receiver = Actor::start("rt-receiver")?;
    let facts = hand_over(&mut sender, &mut receiver)?;
    sender.run("h.close()")?;
    let event = refused(&daemon, &facts)?;
    assert_owners(only_holder(&event), &[&receiver])?;
    assert_counted(&daemon, &event, &receiver.executable()?)
}

#[test]
fn a_socket_passed_on_outlives_who_made_it() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut sender = Actor::start("rt-sender")?;
    let mut receiver = Actor::start("rt-receiver")?;
    let facts = hand_over(&mut sender, &mut receiver)?;
    sender.end();
    let event = refused(&daemon, &facts)?;
    assert_owners(only_holder(&event), &[&receiver])?;
    assert_counted(&daemon, &event, &receiver.executable()?)
}

#[test]
fn a_socket_passed_on_and_kept_belongs_to_both() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut sender = Actor::start("rt-sender")?;
    let mut receiver = Actor::start("rt-receiver")?;
    let facts = hand_over(&mut sender, &mut receiver)?;
    let event = refused(&daemon, &facts)?;
    assert_owners(only_holder(&event), &[&sender, &receiver])
}

/// A socket on its way to another process is open nowhere, and holds its port.
#[test]
fn a_socket_in_flight_is_a_holder() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut sender = Actor::start("rt-sender")?;
    sender.run("near, far = socketpair(); h = listening('127.0.0.1', 0)")?;
    let facts = sender.facts("h")?;
    sender.run("send_fds(near, [b'x'], [h.fileno()]); h.close()")?;
    let event = refused(&daemon, &facts)?;
    assert_fields(only_holder(&event), &json!({ "state": "listen", "kernel": false }));
    Ok(())
}

/// Prefork servers: the children have what the parent bound.
#[test]
fn every_process_of_a_prefork_server_is_told() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut parent = Actor::start("rt-prefork")?;
    parent.run("h = listening('127.0.0.1', 0)")?;
    let facts = parent.facts("h")?;
    let children = parent.run("children = [forked(lambda: None) for _ in range(3)]; answer = children")?;
    let event = refused(&daemon, &facts)?;
    let executable = parent.executable()?;
    let children = children.as_array().context("pids")?.iter().filter_map(Value::as_u64);
    let everyone: BTreeSet<_> = children
        .chain([u64::from(parent.pid())])
        .map(|pid| (pid, "rt-prefork".to_owned(), executable.clone()))
        .collect();
    assert_eq!(people(&only_holder(&event)["owners"]), everyone, "{event}");
    parent.run("for child in children: end(child)")?;

    // The children without their parent.
    parent.run("h = listening('127.0.0.1', 0)")?;
    let facts = parent.facts("h")?;
    let child = parent.run("children = [forked(lambda: None)]; h.close(); answer = children[0]")?;
    let port = facts["port"].clone();
    let event = refused(&daemon, &facts).with_context(|| format!("port {port}"))?;
    let alone = BTreeSet::from([(child.as_u64().context("a pid")?, "rt-prefork".to_owned(), executable)]);
    assert_eq!(people(&only_holder(&event)["owners"]), alone, "{event}");
    Ok(())
}

/// As systemd does it: who bound and listened keeps the socket, and starts another program that has it as descriptor 3.
#[test]
fn a_socket_inherited_by_another_program_is_told_with_that_program() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut manager = Actor::start("rt-manager")?;
    manager.run("h = listening('127.0.0.1', 0)")?;
    let facts = manager.facts("h")?;
    // The pipe closes with exec(), though before that is at its end.
    let service = manager.run(
        "def serve():\n\
         \x20   os.dup2(h.fileno(), 3, inheritable=True) if h.fileno() != 3 else os.set_inheritable(3, True)\n\
         \x20   environment = dict(os.environ, LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n\
         \x20   os.execvpe('sleep', ['sleep', '600'], environment)\n\
         ends = os.pipe()\n\
         service = forked(serve)\n\
         os.close(ends[1])\n\
         os.read(ends[0], 1)\n\
         answer = service",
    )?;
    let service = until_asleep(&service)?;
    let program = actor::executable(u32::try_from(service)?)?;
    assert_ne!(program, manager.executable()?, "it runs another program");
    let event = refused(&daemon, &facts)?;
    let holder = only_holder(&event);
    let both = BTreeSet::from([
        (u64::from(manager.pid()), "rt-manager".to_owned(), manager.executable()?),
        (service, "sleep".to_owned(), program.clone()),
    ]);
    assert_eq!(people(&holder["owners"]), both, "{event}");
    manager.run("h.close()")?;

    // Without who bound it, the program alone has it.
    let mut starter = Actor::start("rt-starter")?;
    starter.run("h = listening('127.0.0.1', 0)")?;
    let facts = starter.facts("h")?;
    let child = starter.run(
        "ends = os.pipe()\n\
         def serve():\n\
         \x20   os.set_inheritable(h.fileno(), True)\n\
         \x20   os.execvp('sleep', ['sleep', '600'])\n\
         child = forked(serve)\n\
         os.close(ends[1]); os.read(ends[0], 1); h.close()\n\
         answer = child",
    )?;
    let child = until_asleep(&child)?;
    let event = refused(&daemon, &facts)?;
    let alone = BTreeSet::from([(child, "sleep".to_owned(), program.clone())]);
    assert_eq!(people(&only_holder(&event)["owners"]), alone, "{event}");
    assert_counted(&daemon, &event, &program)
}

/// A container's processes have process ids of their own; told are those of the host.
#[test]
fn a_holder_in_a_container_is_told_as_the_host_sees_it() -> Result<()> {
    const ID: &str = "4e5f5b6c7d8e9f00112233445566778899aabbccddeeff001122334455667788";
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let Some(group) = Group::new(format!("system.slice/docker-{ID}.scope"))? else { return Ok(()) };
    let mut actor = Actor::start_contained("rt-contained")?;
    group.take(actor.pid())?;
    assert_eq!(actor.run("answer = os.getpid()")?, 1, "a process namespace of its own");
    actor.run("h = listening('127.0.0.1', 8080)")?;
    let facts = actor.facts("h")?;
    let (event, netns) =
        actor.beside(|| Ok((refused(&daemon, &facts)?, reuse_tests::namespace::inode()?)))?;
    let holder = only_holder(&event);
    assert_owners(holder, &[&actor])?;
    let container = &ID[..12];
    assert_fields(holder, &json!({ "netns": netns, "netns_name": container }));
    assert_fields(
        &holder["owners"][0],
        &json!({ "container": container, "service": container, "unit": null }),
    );
    assert_counted(&daemon, &event, container)?;

    // The same port outside is another port.
    drop(sockets::bound(Transport::Tcp, SocketAddr::from((LOOPBACK, 8080)))?);
    Ok(())
}
