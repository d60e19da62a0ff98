//! Groups of cgroup v2 that a test makes and names as systemd and container runtimes would, and processes to put there.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};

use crate::skip;

/// A group below a top of its own, which is removed with all below it on drop.
#[derive(Debug)]
pub struct Group {
    top: PathBuf,
    path: PathBuf,
}

impl Group {
    /// Makes the group at `path` (any bytes but newlines) and those above it, below `/rt-<pid>-<number>`. `None` after
    /// the calling test was skipped aloud, because cgroup v2 is not mounted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Option<Self>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Some(root) = root()? else {
            skip::skip("cgroup v2 is not mounted");
            return Ok(None);
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let top = root.join(format!("rt-{}-{number}", std::process::id()));
        let path = top.join(OsStr::from_bytes(path.as_ref()));
        let group = Self { top, path };
        fs::create_dir_all(&group.path).with_context(|| format!("making {}", group.path.display()))?;
        Ok(Some(group))
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take(&self, pid: u32) -> Result<()> {
        let file = self.path.join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| format!("{pid} to {}", file.display()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a process in the group, which waits for orders.
    ///
    /// # Errors
    /// When python3 cannot be started, or the kernel does not let it in.
    pub fn start(&self) -> Result<Inmate> {
        let mut inmate = Inmate::start()?;
        inmate.enter(self)?;
        Ok(inmate)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.top) {
            eprintln!("control group {} stays behind: {error}", self.top.display());
        }
    }
}

/// Removes a group and those below it. The kernel's files in them go with them.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// Where the whole hierarchy of cgroup v2 is mounted.
fn root() -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let mut fields = mounts.lines().map(|line| line.split(' '));
    Ok(fields.find_map(|mut fields| {
        let point = fields.nth(1)?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(point))
    }))
}

/// What an inmate understands, an order a line; it answers each with one line.
const ORDERS: &str = r"
import ctypes, os, socket, sys
held = []
for line in sys.stdin.buffer:
    order, _, rest = line[:-1].partition(b' ')
    try:
        if order == b'enter':
            open(rest + b'/cgroup.procs', 'w').write('0')
            answer = 0
        elif order == b'unshare':
            answer = ctypes.CDLL(None).unshare(0x40000000)
        else:
            held.append(socket.socket())
            held[-1].bind(('127.0.0.1', int(rest)))
            held[-1].listen()
            answer = os.fstat(held[-1].fileno()).st_ino
        print('ok', answer, flush=True)
    except OSError as error:
        print('error', error.errno, flush=True)
";

/// A process that makes sockets on demand and ends with the test.
#[derive(Debug)]
pub struct Inmate {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Inmate {
    fn start() -> Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", ORDERS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting python3")?;
        let orders = child.stdin.take().context("standard input of the child")?;
        let answers = BufReader::new(child.stdout.take().context("standard output of the child")?);
        Ok(Self { child, orders, answers })
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Moves into another group.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&mut self, group: &Group) -> Result<()> {
        let refused = self.order(&[b"enter ", group.path.as_os_str().as_bytes()].concat())?;
        refused.map(drop).map_err(|errno| anyhow::anyhow!("entering {}: errno {errno}", group.path.display()))
    }

    /// Moves into a network namespace of its own, whose loopback is down.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unshare_network(&mut self) -> Result<()> {
        match self.order(b"unshare")? {
            Ok(0) => Ok(()),
            other => bail!("unsharing the network namespace: {other:?}"),
        }
    }

    /// Listens on `127.0.0.1:port` and keeps the socket: its inode number.
    ///
    /// # Errors
    /// The outer one when the process fails; the inner one is the kernel's errno.
    pub fn listen(&mut self, port: u16) -> Result<Result<u64, i32>> {
        self.order(format!("listen {port}").as_bytes())
    }

    /// Ends the process and returns once it is gone with all it had open.
    pub fn end(self) {
        drop(self);
    }

    fn order(&mut self, order: &[u8]) -> Result<Result<u64, i32>> {
        self.orders.write_all(&[order, b"\n"].concat()).context("giving an order")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).context("reading the answer")?;
        match answer.trim_end().split_once(' ') {
            Some(("ok", number)) => Ok(Ok(number.parse()?)),
            Some(("error", errno)) => Ok(Err(errno.parse()?)),
            _ => bail!("answer {answer:?}"),
        }
    }
}

impl Drop for Inmate {
    fn drop(&mut self) {
        // It has not been waited for, so the id is still its own.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("child {}: {error}", self.child.id());
        }
    }
}
