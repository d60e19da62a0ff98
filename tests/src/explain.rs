//! Running `explain`, and the situations it is asked about.

use std::{
    net::{IpAddr, SocketAddr},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::errno::Errno;
use serde_json::Value;
use socket2::Socket;

use crate::{
    skip,
    sockets::{self, Transport},
    user,
};

/// Backlog of every listener here.
const BACKLOG: i32 = 16;

/// What one run of `explain` gave.
#[derive(Debug)]
pub struct Explained {
    /// How it ended
    pub status: ExitStatus,
    /// Its process id
    pub pid: u32,
    /// What it printed
    pub stdout: String,
    /// What it told on the side
    pub stderr: String,
    /// Time from start to end
    pub took: Duration,
}

impl Explained {
    /// The exit status.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// The answers of `--json`.
    ///
    /// # Errors
    /// It printed something else.
    pub fn answers(&self) -> Result<Vec<Value>> {
        let report: Value =
            serde_json::from_str(&self.stdout).with_context(|| format!("{self:?} is no JSON"))?;
        Ok(report["answers"].as_array().context("answers")?.clone())
    }

    /// The only answer of `--json`.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn answer(&self) -> Result<Value> {
        match self.answers()?.as_slice() {
            [only] => Ok(only.clone()),
            several => anyhow::bail!("{} answers: {self:?}", several.len()),
        }
    }
}

/// The program, run as root or as somebody else.
#[derive(Debug, Clone)]
pub struct Explain {
    binary: PathBuf,
    user: Option<u32>,
}

impl Explain {
    /// The binary under test, or `None` after the test was skipped aloud.
    ///
    /// # Errors
    /// As [`skip::daemon_binary`].
    pub fn new() -> Result<Option<Self>> {
        Ok(skip::daemon_binary()?.map(|binary| Self { binary, user: None }))
    }

    /// A copy of it that another user runs, in a directory which that user can reach.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn as_user(&self, uid: u32, directory: &Path) -> Result<Self> {
        let binary = directory.join("reuse-daemon");
        std::fs::copy(&self.binary, &binary).context("copying the binary")?;
        Ok(Self { binary, user: Some(uid) })
    }

    /// Runs it in the calling thread's network namespace.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Explained> {
        let start = Instant::now();
        let child = self.command(arguments).spawn().context("starting explain")?;
        let pid = child.id();
        let output = child.wait_with_output()?;
        let took = start.elapsed();
        Ok(Explained {
            status: output.status,
            pid,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
            took,
        })
    }

    /// The command, for tests that do something while it runs.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("explain")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(uid) = self.user {
            command.uid(uid).gid(uid);
        }
        command
    }
}

/// A socket with all that decides whether it shares a port.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Protocol
    pub transport: Transport,
    /// Where it is bound
    pub address: IpAddr,
    /// SO_REUSEADDR
    pub reuseaddr: bool,
    /// SO_REUSEPORT
    pub reuseport: bool,
    /// IPV6_V6ONLY
    pub v6only: bool,
    /// SO_BINDTODEVICE
    pub device: Option<&'static str>,
    /// Who makes it
    pub uid: u32,
    /// It listens
    pub listen: bool,
}

impl Spec {
    /// A socket of root without options.
    ///
    /// # Panics
    /// When `address` is none.
    #[must_use]
    pub fn new(transport: Transport, address: &str) -> Self {
        let address = address.parse().expect("an address");
        Self {
            transport,
            address,
            reuseaddr: false,
            reuseport: false,
            v6only: false,
            device: None,
            uid: 0,
            listen: false,
        }
    }

    /// Makes it and sets its options, under its user.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(&self) -> Result<Socket> {
        let make = || {
            let socket = sockets::open(self.transport, self.address)?;
            socket.set_reuse_address(self.reuseaddr)?;
            socket.set_reuse_port(self.reuseport)?;
            if self.v6only {
                socket.set_only_v6(true)?;
            }
            if let Some(device) = self.device {
                socket.bind_device(Some(device.as_bytes()))?;
            }
            Ok(socket)
        };
        if self.uid == 0 { make() } else { user::run_as(self.uid, make) }
    }

    /// Makes it, binds it, lets it listen: the socket, or the call that was refused and its errno.
    ///
    /// # Errors
    /// It cannot be made, or something other than the kernel's answer goes wrong.
    pub fn attempt(&self, port: u16) -> Result<Result<Socket, (&'static str, String)>> {
        let socket = self.open()?;
        let asked = || -> Result<Result<(), (&'static str, i32)>> {
            let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(0);
            let bound = socket.bind(&SocketAddr::new(self.address, port).into());
            Ok(bound.map_err(|error| ("bind", errno(error))).and_then(|()| {
                if self.listen {
                    socket.listen(BACKLOG).map_err(|error| ("listen", errno(error)))
                } else {
                    Ok(())
                }
            }))
        };
        let outcome = if self.uid == 0 { asked()? } else { user::run_as(self.uid, asked)? };
        Ok(outcome
            .map(|()| socket)
            .map_err(|(phase, errno)| (phase, format!("{:?}", Errno::from_raw(errno)))))
    }

    /// The arguments of `explain` that ask about it.
    #[must_use]
    pub fn arguments(&self, port: u16) -> Vec<String> {
        let mut words =
            vec![self.transport.name().to_owned(), SocketAddr::new(self.address, port).to_string()];
        let flags = [
            (self.reuseaddr, "--reuseaddr"),
            (self.reuseport, "--reuseport"),
            (self.v6only, "--v6only"),
            (self.listen, "--listen"),
        ];
        words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| (*flag).to_owned()));
        if let Some(device) = self.device {
            words.extend(["--device".to_owned(), device.to_owned()]);
        }
        if self.uid != 0 {
            words.extend(["--uid".to_owned(), self.uid.to_string()]);
        }
        words
    }
}

/// What is predicted for `contender`, after it was seen to be what a real attempt then gives.
///
/// # Errors
/// The two differ, or either cannot be had.
pub fn confirmed(explain: &Explain, contender: &Spec, port: u16) -> Result<Value> {
    let mut arguments = contender.arguments(port);
    arguments.push("--json".to_owned());
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let explained = explain.run(&words)?;
    let answer = explained.answer()?;
    let last = if contender.listen { "listen" } else { "bind" };
    let (outcome, phase, errno, code) = match contender.attempt(port)? {
        Ok(_) => ("success", last, Value::Null, 0),
        Err((phase, errno)) => ("refused", phase, errno.into(), 1),
    };
    let same = answer["outcome"] == outcome && answer["errno"] == errno && answer["phase"] == phase;
    if !same || explained.code() != code || answer["confidence"] != "exact" {
        anyhow::bail!("{phase}: {outcome} {errno}, but predicted with status {}: {answer}", explained.code());
    }
    Ok(answer)
}

/// Writes what the answer depends on to the directory that `REUSE_PORTS_DIR` names, if it names one: data for replays
/// (`reuse-daemon/tests/data/ports`). Call it only where [`confirmed`] follows.
///
/// # Errors
/// It cannot be read or written.
pub fn dump(explain: &Explain, name: &str, contender: &Spec, port: u16) -> Result<()> {
    let Some(directory) = std::env::var_os("REUSE_PORTS_DIR") else { return Ok(()) };
    let mut arguments = contender.arguments(port);
    arguments.push("--raw".to_owned());
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let raw = explain.run(&words)?;
    std::fs::write(Path::new(&directory).join(format!("{name}.json")), raw.stdout)?;
    Ok(())
}
