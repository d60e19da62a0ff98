//! Sockets that are open in another program than the one that bound them: handed over, stolen, inherited.

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    actor::Actor,
    daemon::Daemon,
    signals::{Double, Expected, Party, Stage, TAKER, VICTIM, counted},
};

const PIDFD_OPEN: u32 = 434;
const PIDFD_GETFD: u32 = 438;

/// Has `sender` pass its socket `s` to `receiver` (SCM_RIGHTS), who keeps it as `s`.
fn hand_over(sender: &mut Actor, receiver: &mut Actor) -> Result<()> {
    // Abstract names are of a network namespace.
    let name = format!("rt-inherit-{}", receiver.pid());
    receiver.run(&format!("door = socket(AF_UNIX); door.bind('\\0{name}'); door.listen()"))?;
    sender.run(&format!(
        "to = socket(AF_UNIX); to.connect('\\0{name}'); send_fds(to, [b'x'], [s.fileno()]); to.close()"
    ))?;
    receiver.run(
        "of, _ = door.accept(); s = socket(fileno=recv_fds(of, 1, 1)[1][0]); of.close(); door.close()",
    )?;
    Ok(())
}

/// Has `thief`, which may trace `owner`, take its socket `s` and keep it as `s`.
fn steal(owner: &mut Actor, thief: &mut Actor) -> Result<()> {
    let fd = owner.run("answer = s.fileno()")?;
    let pid = owner.pid();
    thief.run(&format!(
        "of = LIBC.syscall({PIDFD_OPEN}, {pid}, 0); s = socket(fileno=LIBC.syscall({PIDFD_GETFD}, of, {fd}, 0)); os.close(of)"
    ))?;
    Ok(())
}

const TCP: &str = "s = listening('127.0.0.1', 8001)";
const UDP: &str = "s = bound('127.0.0.1', 8001, kind=SOCK_DGRAM)";

/// Whoever has the descriptor has the port, whatever its uid.
#[test]
fn a_socket_in_a_message() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let double = Double::new("rt-double")?;
    for (made, uid, severity) in
        [(TCP, TAKER, "warning"), (TCP, VICTIM, "info"), (UDP, TAKER, "warning"), (UDP, VICTIM, "info")]
    {
        let stage = Stage::new(&daemon, "message")?;
        let mut sender = stage.actor("rt-sender", VICTIM)?;
        let mut receiver = stage.actor_of(&double, "rt-receiver", uid)?;
        sender.run(made)?;
        stage.assert_only(&[])?;
        hand_over(&mut sender, &mut receiver)?;
        let party = Party::new("holder", &mut sender, "s")?.owned_by(&receiver);
        let expected = Expected::new("inherited_listener", severity).and(party);
        let signal = stage.raised(&expected).with_context(|| format!("{made} to {uid}"))?;
        // The sender goes on without it.
        receiver.end();
        stage.resolved(&expected, &signal)?;
        stage.assert_only(&[&signal])?;
    }
    counted(&daemon)
}

/// The sender may be gone long before.
#[test]
fn a_socket_whose_binder_is_gone() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "gone")?;
    let double = Double::new("rt-double")?;
    let mut sender = stage.actor("rt-sender", VICTIM)?;
    let mut receiver = stage.actor_of(&double, "rt-receiver", TAKER)?;
    sender.run(TCP)?;
    hand_over(&mut sender, &mut receiver)?;
    sender.end();
    let expected = Expected::new("inherited_listener", "warning").party("holder", &mut receiver, "s")?;
    let signal = stage.raised(&expected)?;
    receiver.run("s.close()")?;
    stage.resolved(&expected, &signal)?;
    stage.assert_only(&[&signal])
}

/// Nothing of it can be seen by its owner.
#[test]
fn a_socket_that_was_stolen() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let double = Double::new("rt-double")?;
    for made in [TCP, UDP] {
        let stage = Stage::new(&daemon, "stolen")?;
        let mut owner = stage.actor("rt-owner", VICTIM)?;
        let mut thief = stage.actor_of(&double, "rt-thief", 0)?;
        owner.run(made)?;
        steal(&mut owner, &mut thief)?;
        ensure!(thief.facts("s")? == owner.facts("s")?, "one socket");
        let party = Party::new("holder", &mut owner, "s")?.owned_by(&thief);
        let expected = Expected::new("inherited_listener", "warning").and(party);
        let signal = stage.raised(&expected).context(made)?;
        thief.end();
        stage.resolved(&expected, &signal)?;
        stage.assert_only(&[&signal])?;
    }
    Ok(())
}

/// A listener without close-on-exec, in whatever its owner starts: a shell, an editor, an update.
#[test]
fn a_socket_left_to_another_program() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "exec")?;
    let mut owner = stage.actor("rt-owner", VICTIM)?;
    owner.run(TCP)?;
    owner.run(
        "def start():\n\
         \x20   os.set_inheritable(s.fileno(), True)\n\
         \x20   os.execvp('sleep', ['sleep', '600'])\n\
         child = forked(start)",
    )?;
    let expected = Expected::new("inherited_listener", "info").party("holder", &mut owner, "s")?;
    let signal = stage.raised(&expected)?;
    owner.run("end(child)")?;
    stage.resolved(&expected, &signal)?;
    stage.assert_only(&[&signal])
}

/// Workers, the same program started anew, and sockets that are no service's.
#[test]
fn what_servers_do_raises_nothing() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "workers")?;
    let mut server = stage.actor("rt-server", VICTIM)?;
    server.run(TCP)?;
    server.run("children = [forked(lambda: None) for _ in range(4)]")?;
    server.run("others = [forked(lambda: os.set_inheritable(s.fileno(), True) or os.execv('/proc/self/exe', ['python3', '-c', 'import signal; signal.pause()']))]")?;
    let mut twin = stage.actor("rt-twin", VICTIM)?;
    hand_over(&mut server, &mut twin)?;
    stage.assert_only(&[])?;
    server.run("for child in children + others: end(child)")?;
    // A connection handed on: what a dispatcher does.
    let double = Double::new("rt-double")?;
    let mut dispatcher = stage.actor("rt-dispatcher", VICTIM)?;
    let mut worker = stage.actor_of(&double, "rt-worker", TAKER)?;
    let mut client = stage.actor("rt-client", VICTIM)?;
    client.run("c = connected('127.0.0.1', 8001)")?;
    hand_over(&mut server, &mut dispatcher)?;
    dispatcher.run("door = s; s, _ = door.accept()")?;
    hand_over(&mut dispatcher, &mut worker)?;
    client.run("c.send(b'x')")?;
    ensure!(worker.run("answer = len(s.recv(9))")? == 1);
    stage.assert_only(&[])
}
