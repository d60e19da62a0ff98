//! A daemon that one test hands on to the next: on an emulated machine its start takes longer than most tests do with it.
//!
//! The process, its files and a note of where they are stay behind. Whoever sets [`SHARED`] ends what is left in the end
//! (tests/guest/src/run.rs).

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::{Daemon, Launch, Process, STOP_LIMIT, output::Output};
use crate::{deadline, skip};

/// Environment variable with a folder for the daemon that is handed on; without it each test has one of its own.
const SHARED: &str = "REUSE_TESTS_SHARED";
/// What is in the folder
const NOTE: &str = "note.json";
const STREAMS: [&str; 2] = ["stdout", "stderr"];
const SOCKET: &str = "api.sock";

/// How many of them this process uses at the moment
static USED: AtomicUsize = AtomicUsize::new(0);

/// A daemon that may have lived through other tests: what it has counted, told and listed before is
/// still counted and listed, and told no more.
#[derive(Debug)]
pub struct Shared(Daemon);

/// Where the next test finds it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    pid: i32,
    binary: PathBuf,
    flags: Vec<String>,
    web: SocketAddr,
}

impl Daemon {
    /// The daemon with these flags that another test has left, or else one that is left to the next; `None` after skipping
    /// the test aloud.
    ///
    /// # Errors
    /// As [`Daemon::start`], and when the files of what was left cannot be read.
    pub fn shared(flags: &[&str]) -> Result<Option<Shared>> {
        let Some(folder) = folder() else { return Ok(Self::start(flags)?.map(Shared::used)) };
        let Some(binary) = skip::daemon_binary()? else { return Ok(None) };
        let left = Note::left_in(&folder).filter(|note| note.flags == flags && note.is_running(&binary));
        let daemon = match left {
            // To look for a free port, as for a start, is a bind of the test's own.
            Some(note) => note.daemon(&folder)?,
            None => {
                let Some(launch) = Launch::prepare()? else { return Ok(None) };
                leave(launch, flags, &folder)?
            }
        };
        Ok(Some(Shared::used(daemon)))
    }
}

impl Shared {
    fn used(daemon: Daemon) -> Self {
        USED.fetch_add(1, Relaxed);
        Self(daemon)
    }
}

impl Deref for Shared {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        USED.fetch_sub(1, Relaxed);
    }
}

impl Note {
    fn left_in(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(NOTE)).ok()?).ok()
    }

    /// Whether the process is still the one that was started. One that has ended has no executable.
    fn is_running(&self, binary: &Path) -> bool {
        let executable = fs::read_link(format!("/proc/{}/exe", self.pid));
        self.binary == binary && executable.is_ok_and(|path| path == binary)
    }

    fn daemon(self, folder: &Path) -> Result<Daemon> {
        let [stdout, stderr] = STREAMS.map(|name| {
            let path = folder.join(name);
            File::open(&path).and_then(Output::from_now).with_context(|| path.display().to_string())
        });
        Ok(Daemon {
            process: Process::HandedOn(Pid::from_raw(self.pid)),
            web: self.web,
            socket: folder.join(SOCKET),
            binary: self.binary,
            stdout: stdout?,
            parsed: Mutex::default(),
            earlier: OnceLock::new(),
            stderr: stderr?,
            start_to_ready: Duration::ZERO,
            _scratch: None,
        })
    }
}

/// Starts a daemon that outlives this process.
fn leave(launch: Launch, flags: &[&str], folder: &Path) -> Result<Daemon> {
    end_unused()?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let stream = |name| {
        let path = folder.join(name);
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path);
        file.and_then(Output::from_now).with_context(|| path.display().to_string())
    };
    let [stdout, stderr] = STREAMS.map(stream);
    let mut daemon = launch.flags(flags).socket(&folder.join(SOCKET)).start_with([stdout?, stderr?])?;
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    let flags = flags.iter().map(ToString::to_string).collect();
    let note = Note { pid: pid.as_raw(), binary: daemon.binary.clone(), flags, web: daemon.web };
    fs::write(folder.join(NOTE), serde_json::to_vec(&note)?).context(NOTE)?;
    daemon.process = Process::HandedOn(pid);
    Ok(daemon)
}

/// Ends a daemon that was left, unless this process uses one.
///
/// # Errors
/// When it does not end.
pub(super) fn end_unused() -> Result<()> {
    let Some(note) = folder().as_deref().and_then(Note::left_in) else { return Ok(()) };
    if USED.load(Relaxed) > 0 { Ok(()) } else { end(Pid::from_raw(note.pid), &note.binary) }
}

/// Ends the process of a daemon that runs this binary, and waits until it has let go of all it had.
///
/// # Errors
/// When it does not end.
pub(super) fn end(pid: Pid, binary: &Path) -> Result<()> {
    let executable = || fs::read_link(format!("/proc/{pid}/exe"));
    if executable().is_ok_and(|path| path == binary) {
        // It may end by itself in between.
        let _ = kill(pid, Signal::SIGKILL);
    }
    deadline::until("the daemon that was left ends", STOP_LIMIT, || {
        let is_another = executable().is_ok_and(|path| path != binary);
        Ok((is_another || has_ended(pid)).then_some(()))
    })
}

/// Whether a process is gone, or only waits to be waited for. It lets go of its executable first, and of its descriptors
/// with its last thread.
fn has_ended(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before may contain anything (proc(5)).
    threads <= 1 && stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Whether tests hand on daemons.
pub(crate) fn is_handed_on() -> bool {
    folder().is_some()
}

fn folder() -> Option<PathBuf> {
    env::var_os(SHARED).map(PathBuf::from)
}
