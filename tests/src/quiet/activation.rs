//! Services that are started by their sockets: somebody listens, starts the service when the first client is there, and goes
//! on when it has ended. Once as a manager does it, which keeps the sockets and starts the service beside itself under
//! another user, and once by `systemd-socket-activate`, which becomes the service.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    fcntl::{FcntlArg, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    load::{add, words},
    script::Script,
    stage::{Played, Stage},
};
use crate::{
    deadline,
    namespace::Namespace,
    servers::{Outcome, Program, Running, fetch},
    user::NOBODY,
};

const PORT: u16 = 8080;
const ACCEPTED: u16 = 8081;
/// First descriptor that a service is given (`SD_LISTEN_FDS_START` of sd-daemon.h).
const FIRST: i32 = 3;
/// A service ends after a second without a client.
const LULL: Duration = Duration::from_secs(3);

/// What a manager listens on for its service.
struct Sockets {
    listeners: [TcpListener; 2],
    datagrams: UdpSocket,
}

impl Sockets {
    fn new(namespace: &Namespace) -> Result<Self> {
        namespace.run(|| {
            let listeners = [
                TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?,
                TcpListener::bind((Ipv6Addr::LOCALHOST, PORT))?,
            ];
            Ok(Self { listeners, datagrams: UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT))? })
        })
    }

    fn all(&self) -> [BorrowedFd<'_>; 3] {
        let [four, six] = &self.listeners;
        [four.as_fd(), six.as_fd(), self.datagrams.as_fd()]
    }

    /// Whether somebody waits at one of them.
    fn are_asked(&self) -> Result<bool> {
        let mut polled = self.all().map(|socket| PollFd::new(socket, PollFlags::POLLIN));
        Ok(poll(&mut polled, PollTimeout::ZERO).context("poll")? > 0)
    }

    /// Gives them to a program that is not run yet.
    fn give_to(&self, command: &mut Command) {
        let sockets = self.all().map(|socket| socket.as_raw_fd());
        command.env("LISTEN_FDS", sockets.len().to_string());
        // SAFETY: between fork and exec only fcntl and dup2 are called, on descriptors this process keeps open.
        unsafe {
            command.pre_exec(move || {
                // Out of the way of the numbers they are to have.
                let mut copies = sockets;
                for copy in &mut copies {
                    *copy = fcntl(BorrowedFd::borrow_raw(*copy), FcntlArg::F_DUPFD_CLOEXEC(100))?;
                }
                for (number, copy) in (FIRST..).zip(copies) {
                    if libc::dup2(copy, number) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
    }
}

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let namespace = stage.namespace("activate")?;
    let script = Script::new("activated", include_str!("activated.py"))?;
    let sockets = Sockets::new(&namespace)?;
    let (mut starts, mut sum) = (0, Outcome::default());
    let mut service: Option<Running> = None;
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| clients(stage, &namespace));
        while !clients.is_finished() {
            if let Some(running) = &mut service
                && running.has_ended()?
            {
                service = None;
            }
            if service.is_none() && sockets.are_asked()? {
                let mut command = script.command();
                command.arg(NOBODY.to_string());
                sockets.give_to(&mut command);
                service = Some(Running::start(&namespace, &mut command, &script.beside("output"))?);
                starts += 1;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        add(&mut sum, clients.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        anyhow::Ok(())
    })?;
    Ok(Played::Done(format!("{starts} starts, {}", words(sum))))
}

/// Clients that come, and stay away for so long that the service ends.
fn clients(stage: &Stage, namespace: &Namespace) -> Result<Outcome> {
    let mut sum = Outcome::default();
    while !stage.is_over() {
        for address in [(Ipv4Addr::LOCALHOST, PORT).into(), (Ipv6Addr::LOCALHOST, PORT).into()] {
            add(&mut sum, fetch(namespace, address, 20)?);
        }
        namespace.run(|| echo((Ipv4Addr::LOCALHOST, PORT).into()))?;
        stage.pause(LULL);
    }
    Ok(sum)
}

fn echo(address: SocketAddr) -> Result<()> {
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.set_read_timeout(Some(deadline::scaled(deadline::PROMPT)))?;
    client.connect(address)?;
    client.send(b"anyone?")?;
    let mut answer = [0; 16];
    let length = client.recv(&mut answer).context("waiting for the echo")?;
    ensure!(answer.get(..length) == Some(b"anyone?"), "another echo");
    Ok(())
}

pub(super) fn play_packaged(stage: &Stage) -> Result<Played> {
    let [program] = match Program::available(["systemd-socket-activate"]) {
        Ok(program) => program,
        Err(why) => return Ok(Played::LeftOut(why)),
    };
    let namespace = stage.namespace("sdactivate")?;
    let script = Script::new("started", include_str!("activated.py"))?;
    let python = script.command();
    let activate = |port: u16, flags: &[&str], arguments: &[&str]| {
        let mut command = program.command();
        command.args(flags).arg("-l").arg(format!("127.0.0.1:{port}"));
        command.arg(python.get_program()).args(python.get_args()).arg(NOBODY.to_string()).args(arguments);
        let mut running = Running::start(&namespace, &mut command, &script.beside(&port.to_string()))?;
        running.until_listening(port)?;
        anyhow::Ok(running)
    };
    let _accepting = activate(ACCEPTED, &["--accept", "--inetd"], &["one"])?;
    let (mut starts, mut sum) = (0, Outcome::default());
    while !stage.is_over() {
        let mut service = activate(PORT, &[], &[])?;
        starts += 1;
        add(&mut sum, fetch(&namespace, (Ipv4Addr::LOCALHOST, PORT).into(), 20)?);
        add(&mut sum, fetch(&namespace, (Ipv4Addr::LOCALHOST, ACCEPTED).into(), 3)?);
        deadline::until("the service ends when nobody asks", deadline::PROMPT, || {
            Ok(service.has_ended()?.then_some(()))
        })?;
        stage.pause(Duration::from_secs(1));
    }
    Ok(Played::Done(format!("{starts} starts, {}", words(sum))))
}
