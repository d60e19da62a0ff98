//! Processes of a test's own that make, hand over and close sockets when told: a holder must be another process than
//! the contender for its pid to say anything.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _, pipe},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use serde_json::Value;

use crate::deadline::{self, PROMPT};

/// What runs in the process; the functions it gives to the statements of a test are described there.
const PROGRAM: &str = include_str!("actor.py");

/// A process that runs Python statements on demand and ends with the test.
#[derive(Debug)]
pub struct Actor {
    /// The child of this process to wait for
    child: Pid,
    pid: u32,
    comm: String,
    orders: File,
    answers: BufReader<File>,
}

/// A process that others are copies of, which are there sooner than python3 starts.
#[derive(Debug)]
pub struct Template(Actor);

impl Actor {
    /// Starts a process called `comm` (at most 15 bytes) in the calling thread's namespaces.
    ///
    /// # Errors
    /// When python3 cannot be started.
    pub fn start(comm: &str) -> Result<Self> {
        Self::start_in(Command::new("python3"), comm)
    }

    /// Starts it in a copy of python3.
    ///
    /// # Errors
    /// When that cannot be started.
    pub fn start_in(python: Command, comm: &str) -> Result<Self> {
        Self::launch(python, &[comm])
    }

    /// Starts a process in process, mount and network namespaces of its own, as a container has them, with loopback up.
    ///
    /// # Errors
    /// When the namespaces cannot be made.
    pub fn start_contained(comm: &str) -> Result<Self> {
        let mut actor = Self::launch(Command::new("python3"), &[comm, "contained"])?;
        actor.pid = actor.only_child()?;
        Ok(actor)
    }

    /// The process, where the child is another one that waits for it.
    fn only_child(&self) -> Result<u32> {
        let parent = self.child;
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(&path).context(path)?;
        children.trim().parse().with_context(|| format!("children of {parent}: {children:?}"))
    }

    fn launch(mut python: Command, arguments: &[&str]) -> Result<Self> {
        let mut child = python
            .args(["-c", PROGRAM])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting python3")?;
        let orders = child.stdin.take().context("standard input of the child")?;
        let answers = child.stdout.take().context("standard output of the child")?;
        let comm = arguments.first().copied().unwrap_or_default();
        let mut actor = Self::new(child.id(), comm, orders.into(), answers.into());
        // Once it answers it has its name.
        actor.run("")?;
        Ok(actor)
    }

    fn new(pid: u32, comm: &str, orders: OwnedFd, answers: OwnedFd) -> Self {
        let (child, comm) = (Pid::from_raw(pid.cast_signed()), comm.to_owned());
        Self { child, pid, comm, orders: orders.into(), answers: BufReader::new(answers.into()) }
    }

    /// Process id in the initial process namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name it was started with.
    #[must_use]
    pub fn comm(&self) -> &str {
        &self.comm
    }

    /// Base name of its executable.
    ///
    /// # Errors
    /// As [`executable`].
    pub fn executable(&self) -> Result<String> {
        executable(self.pid)
    }

    /// Runs statements: what they left in `answer`, null where nothing.
    ///
    /// # Errors
    /// When they fail.
    pub fn run(&mut self, statements: &str) -> Result<Value> {
        let mut said = self.order(statements)?;
        match said.get_mut("answer") {
            Some(answer) => Ok(answer.take()),
            None => bail!("{statements:?} in {}: {said}", self.comm),
        }
    }

    /// Runs statements that the kernel must refuse: the errno's name.
    ///
    /// # Errors
    /// When they succeed, or fail otherwise.
    pub fn refused(&mut self, statements: &str) -> Result<String> {
        let said = self.order(statements)?;
        match said["errno"].as_str() {
            Some(errno) => Ok(errno.to_owned()),
            None => bail!("{statements:?} in {}: {said}", self.comm),
        }
    }

    /// What the kernel says about the socket in this variable, under the names of a holder's fields.
    ///
    /// # Errors
    /// As [`Actor::run`].
    pub fn facts(&mut self, variable: &str) -> Result<Value> {
        self.run(&format!("answer = facts({variable})"))
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// When it is not within [`PROMPT`].
    pub fn until(&mut self, expression: &str) -> Result<()> {
        deadline::until(expression, PROMPT, || {
            let answer = self.run(&format!("answer = bool({expression})"))?;
            Ok((answer == true).then_some(()))
        })
    }

    /// Runs `work` on a thread in the network namespace of the process.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` fails.
    ///
    /// # Panics
    /// Passes on a panic of `work`.
    pub fn beside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = PathBuf::from(format!("/proc/{}/ns/net", self.pid));
        let namespace = File::open(&path).with_context(|| path.display().to_string())?;
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Goes on in a child of this process, which only waits for it: no other actor is its sibling, and it started now.
    ///
    /// # Errors
    /// When it cannot fork.
    pub fn part(&mut self) -> Result<()> {
        self.run("part()")?;
        self.pid = self.only_child()?;
        Ok(())
    }

    /// Ends the process and returns once it is gone with all it had open.
    pub fn end(self) {
        drop(self);
    }

    fn order(&mut self, statements: &str) -> Result<Value> {
        let mut line = serde_json::to_string(statements)?;
        line.push('\n');
        self.orders.write_all(line.as_bytes()).context("telling the process")?;
        self.said()
    }

    fn said(&mut self) -> Result<Value> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).context("reading its answer")?;
        serde_json::from_str(&answer).with_context(|| format!("{}: {answer:?}", self.comm))
    }
}

impl Template {
    /// Starts it: python3, or a copy of it.
    ///
    /// # Errors
    /// When that cannot be started.
    pub fn start(python: Command) -> Result<Self> {
        Actor::start_in(python, "rt-template").map(Self)
    }

    /// Makes a process called `comm` in this network namespace: a child of this process, as one that was started is.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn actor(&mut self, comm: &str, netns: &Path) -> Result<Actor> {
        let (its_orders, orders) = pipe().context("making a pipe")?;
        let (answers, its_answers) = pipe().context("making a pipe")?;
        let [clone, netns] = [libc::SYS_clone.to_string(), format!("{netns:?}")];
        let (tester, its) = (std::process::id(), [its_orders.as_raw_fd(), its_answers.as_raw_fd()]);
        let made = self.0.run(&format!(
            "answer = copied({clone}, {netns}, {tester}, {}, {}); answer or named('{comm}')",
            its[0], its[1]
        ))?;
        let pid = made.as_u64().and_then(|pid| u32::try_from(pid).ok()).context("pid of a copy")?;
        // What it does not open any more ends the wait for its answer, if it never gives one.
        drop((its_orders, its_answers));
        let mut actor = Actor::new(pid, comm, orders.into(), answers.into());
        // Once it answers it has its name.
        actor.said().with_context(|| format!("{comm} does not answer"))?;
        Ok(actor)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It is this process' child, or the only one of a child that lives as long: the id is still its own. With the
        // latter ends all of its process namespace.
        let ended = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
        if let Err(error) = ended.and_then(|()| waitpid(self.child, None)) {
            eprintln!("process {}: {error}", self.pid);
        }
    }
}

/// Base name of a process's executable.
///
/// # Errors
/// When `/proc` does not say.
pub fn executable(pid: u32) -> Result<String> {
    let path = format!("/proc/{pid}/exe");
    let target = std::fs::read_link(&path).context(path)?;
    Ok(target.file_name().context("executable without a name")?.to_string_lossy().into_owned())
}
