//! Command lines of processes, read where a process that will not let itself be read holds nothing up.
//!
//! The kernel copies them out of the process's own memory (fs/proc/base.c, `get_mm_cmdline`): who keeps a page of that
//! memory from being read, with userfaultfd or a file system of its own, keeps the reader waiting for as long as it
//! likes. So each reading has a thread of its own and a time limit, and threads that hang are few.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use reuse_model::{event::Moment, text::escape};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// How long a reading is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Most readings at once, those that hang among them. While as many hang, no command lines are read.
const READINGS: usize = 8;
/// Most bytes of a command line that are shown; the kernel allows a quarter of the stack's limit, usually 2 MiB.
const LINE_LIMIT: usize = 16 * 1024;
/// `USER_HZ`, the unit of times in `/proc/PID/stat`: 100 on every architecture with BTF (include/asm-generic/param.h)
const TICKS_PER_SECOND: u64 = 100;

/// Command lines by process id, each argument escaped.
pub type ByPid = HashMap<u32, Vec<String>>;

/// Reads command lines.
#[derive(Clone, Debug)]
pub struct CommandLines {
    proc: Arc<Path>,
    places: Arc<Semaphore>,
}

impl CommandLines {
    /// Of the processes whose proc(5) is at `proc` (on a host `/proc`).
    #[must_use]
    pub fn new(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into().into(), places: Arc::new(Semaphore::new(READINGS)) }
    }

    /// The command lines of processes that were there at the moments given: one that started later, and has the id of
    /// one that is gone, has none here. What could not be read in time is left out.
    pub async fn read(&self, processes: BTreeMap<u32, Moment>) -> ByPid {
        if processes.is_empty() {
            return ByPid::new();
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            log::debug!("command lines are left out: processes keep {READINGS} readers waiting");
            return ByPid::new();
        };
        let found = Arc::new(Mutex::new(ByPid::new()));
        let (ended, end) = oneshot::channel();
        let reading = Reading { proc: Arc::clone(&self.proc), found: Arc::clone(&found), _place: place };
        let started = thread::Builder::new().name("command-lines".to_owned()).spawn(move || {
            reading.run(&processes);
            // Whoever waited may have lost patience.
            let _ = ended.send(());
        });
        match started {
            // An error here is the time that is up.
            Ok(_) => drop(timeout(PATIENCE, end).await),
            Err(error) => log::debug!("command lines are left out: {error}"),
        }
        std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One reading, which may hang.
struct Reading {
    proc: Arc<Path>,
    found: Arc<Mutex<ByPid>>,
    _place: OwnedSemaphorePermit,
}

impl Reading {
    fn run(&self, processes: &BTreeMap<u32, Moment>) {
        for (&pid, &at) in processes {
            if let Some(line) = read_one(&self.proc, pid, at) {
                self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, line);
            }
        }
    }
}

/// The arguments of a process that was there at `at`; `None` for kernel threads and what is gone.
fn read_one(proc: &Path, pid: u32, at: Moment) -> Option<Vec<String>> {
    let directory = proc.join(pid.to_string());
    if started(&fs::read(directory.join("stat")).ok()?)? > at {
        return None;
    }
    let mut bytes = fs::read(directory.join("cmdline")).ok()?;
    bytes.truncate(LINE_LIMIT);
    let arguments = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    (!bytes.is_empty()).then(|| arguments.split(|byte| *byte == 0).map(|word| escape(word).into()).collect())
}

/// When the process of a `/proc/PID/stat` started, rounded down: field 22 of proc_pid_stat(5), the 20th after the
/// name, which stands in the file's last closing parenthesis.
fn started(stat: &[u8]) -> Option<Moment> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Moment(ticks.saturating_mul(1_000_000_000 / TICKS_PER_SECOND)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::scratch::Directory;

    fn process(directory: &Directory, pid: u32, ticks: u64, cmdline: &str) {
        directory.write(
            format!("{pid}/stat"),
            format!("{pid} (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 {ticks} 20 21\n"),
        );
        directory.write(format!("{pid}/cmdline"), cmdline);
    }

    #[tokio::test]
    async fn arguments_are_words_and_escaped() {
        let directory = Directory::new();
        process(&directory, 7, 5, "srv\0-k\n\0\0last\0");
        process(&directory, 8, 5, "");
        let asked = BTreeMap::from([(7, Moment(50_000_000)), (8, Moment(u64::MAX)), (9, Moment(u64::MAX))]);
        let found = CommandLines::new(directory.path("")).read(asked).await;
        assert_eq!(found, ByPid::from([(7, ["srv", "-k\\x0a", "", "last"].map(str::to_owned).to_vec())]));
    }

    #[tokio::test]
    async fn a_younger_process_with_the_same_id_is_another() {
        let directory = Directory::new();
        process(&directory, 7, 5, "other\0");
        let found = CommandLines::new(directory.path("")).read([(7, Moment(49_999_999))].into()).await;
        assert!(found.is_empty(), "{found:?}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_not_waited_for_and_many_stop_the_reading() {
        let directory = Directory::new();
        process(&directory, 6, 5, "good\0");
        process(&directory, 7, 5, "");
        let pipe = directory.path("7/cmdline");
        fs::remove_file(&pipe).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let lines = CommandLines::new(directory.path(""));
        let both = BTreeMap::from([(6, Moment(u64::MAX)), (7, Moment(u64::MAX))]);
        let first = lines.read(both.clone()).await;
        assert_eq!(first.keys().copied().collect::<Vec<_>>(), [6], "what was read before it hung");
        let others = (1..READINGS).map(|_| lines.read(both.clone()));
        for other in others {
            assert_eq!(other.await.len(), 1);
        }
        assert!(lines.read(both).await.is_empty(), "as many hang as may");
        // Lets the readers go.
        drop(fs::OpenOptions::new().write(true).open(&pipe));
    }

    #[test]
    fn this_process_started_before_now() {
        let own = fs::read("/proc/self/stat").unwrap();
        let now = crate::clock::Clock::now();
        let age = now.0 - started(&own).unwrap().0;
        assert!(age < 3_600_000_000_000, "{age} ns");
    }
}
