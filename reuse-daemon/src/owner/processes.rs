//! Who a pid is: the executable behind it and where it runs, remembered so that an event seldom costs a look at procfs.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs, mem,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use reuse_model::{
    event::{Caller, Comm},
    process::{Process, Processes, executable_name},
};

use super::{
    lineage::Lineage,
    placement::{Placement, Placements},
};

/// Processes in one generation of the memory. Two generations of processes with a path of 100 bytes are some 6 MiB.
const GENERATION: usize = 8192;
/// Most bytes kept of an executable's path, which may be a page long.
const PATH_LIMIT: usize = 1024;
/// When a container or pod without a name is asked for once more.
const NAMED_BY_THEN: Duration = Duration::from_secs(5);

/// The processes of this host by pid.
///
/// A remembered process stands as long as its `comm`, uid and control group are what the kernel says with the event: a
/// new executable brings a new `comm` along, and a pid that was given away is forgotten at the exit of its process. A
/// container that is renamed keeps its old name in what runs already. The memory has two generations: what was not
/// asked for while a whole generation came in is dropped.
#[derive(Debug)]
pub struct ProcessTable {
    proc: PathBuf,
    own: HashSet<u32>,
    placements: Placements,
    young: HashMap<u32, Known>,
    old: HashMap<u32, Known>,
    generation: usize,
}

/// A process as it is remembered.
#[derive(Clone, Debug)]
struct Known {
    process: Arc<Process>,
    /// The cgroup v2 group an event gave
    cgroup: Option<u64>,
    /// When to look for the name of its container or pod again
    ask_again: Option<Instant>,
}

impl Known {
    /// Whether it is the process that is asked for, wherever that is now.
    fn is(&self, asked: &Asked) -> bool {
        self.process.comm == asked.comm && self.process.uid == asked.uid
    }

    /// Whether it is the same program in any case: then another thread of it has another name.
    fn runs(&self, process: &Process) -> bool {
        process.exe.is_some() && self.process.exe == process.exe
    }

    /// The same program by the name of another of its threads, in the same place.
    fn renamed(self, process: Process) -> Self {
        let Process { unit, container, pod, .. } = &*self.process;
        Self { process: Arc::new(process.placed(unit.clone(), container.clone(), pod.clone())), ..self }
    }

    fn is_in_place(&self, asked: &Asked) -> bool {
        (asked.cgroup.is_none() || self.cgroup == asked.cgroup)
            && self.ask_again.is_none_or(|then| Instant::now() < then)
    }
}

/// What the kernel said of a process.
#[derive(Clone, Copy)]
struct Asked {
    pid: u32,
    comm: Comm,
    uid: u32,
    cgroup: Option<u64>,
}

impl ProcessTable {
    /// Processes of the host whose proc(5) is at `proc` (on a host `/proc`); `own` are the daemon's own.
    #[must_use]
    pub fn new(proc: impl Into<PathBuf>, own: impl IntoIterator<Item = u32>) -> Self {
        let proc = proc.into();
        let placements = Placements::of_this_host(&proc);
        Self::with(proc, own.into_iter().collect(), placements, GENERATION)
    }

    fn with(proc: PathBuf, own: HashSet<u32>, placements: Placements, generation: usize) -> Self {
        Self { proc, own, placements, young: HashMap::new(), old: HashMap::new(), generation }
    }

    /// Takes a process for one of the daemon's own from now on.
    pub fn add_own(&mut self, pid: u32) {
        self.own.insert(pid);
        self.drop_remembered(pid);
    }

    /// Forgets a process that ended: its pid may be given to another.
    pub fn forget(&mut self, pid: u32) {
        self.own.remove(&pid);
        self.drop_remembered(pid);
    }

    /// Looks a process up anew when it is asked for next: it runs another program.
    pub fn renew(&mut self, pid: u32) {
        self.drop_remembered(pid);
    }

    fn drop_remembered(&mut self, pid: u32) {
        self.young.remove(&pid);
        self.old.remove(&pid);
    }

    fn remember(&mut self, known: Known) {
        if self.young.len() >= self.generation {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(known.process.pid, known);
    }

    fn find(&mut self, asked: &Asked) -> Arc<Process> {
        if let Some(known) = self.young.get(&asked.pid)
            && known.is(asked)
            && known.is_in_place(asked)
        {
            return Arc::clone(&known.process);
        }
        let known = match self.young.remove(&asked.pid).or_else(|| self.old.remove(&asked.pid)) {
            Some(known) if known.is(asked) && known.is_in_place(asked) => known,
            Some(known) if known.is(asked) => self.place(Process::clone(&known.process), asked, Some(&known)),
            before => {
                let process = self.read(asked);
                match before.filter(|known| known.runs(&process) && known.is_in_place(asked)) {
                    Some(known) => known.renamed(process),
                    None => self.place(process, asked, None),
                }
            }
        };
        let process = Arc::clone(&known.process);
        self.remember(known);
        process
    }

    /// Makes a process from its executable, or from its `comm` where there is none to read: a kernel thread, one that
    /// is gone, one that may not be looked at.
    fn read(&self, asked: &Asked) -> Process {
        let Asked { pid, comm, uid, .. } = *asked;
        let lineage = Lineage::read(&self.proc, pid);
        let unread = Process {
            started: lineage.map(|lineage| lineage.started),
            parent: lineage.map(|lineage| lineage.parent),
            own: self.own.contains(&pid),
            ..Process::from_comm(pid, comm, uid)
        };
        match fs::read_link(self.proc.join(format!("{pid}/exe"))) {
            Ok(path) => {
                let mut path = OsString::from(path).into_vec();
                let executable = executable_name(&path);
                path.truncate(PATH_LIMIT);
                Process { service: Arc::clone(&executable), executable, exe: Some(path.into()), ..unread }
            }
            Err(_) => unread,
        }
    }

    /// Says where the process runs. One whose place cannot be told any more stays where it was `before`.
    fn place(&mut self, process: Process, asked: &Asked, before: Option<&Known>) -> Known {
        let now = Instant::now();
        let cgroup = asked.cgroup.or_else(|| before.and_then(|before| before.cgroup));
        let Some(placement) = self.placements.of(asked.pid, cgroup, now) else {
            return Known { process: Arc::new(process), cgroup, ask_again: None };
        };
        let Placement { unit, container, pod, lacks_name } = placement;
        // Once, so that a container which never gets a name costs nothing from then on.
        let asked_again = before.is_some_and(|before| before.ask_again.is_some());
        let ask_again = (lacks_name && !asked_again).then(|| now + NAMED_BY_THEN);
        Known { process: Arc::new(process.placed(unit, container, pod)), cgroup, ask_again }
    }
}

impl Processes for ProcessTable {
    fn process(&mut self, pid: u32, comm: Comm, uid: u32) -> Arc<Process> {
        self.find(&Asked { pid, comm, uid, cgroup: None })
    }

    fn caller(&mut self, caller: &Caller) -> Arc<Process> {
        let Caller { pid, comm, uid, cgroup, .. } = *caller;
        // Group 0 is none: ids begin at 1.
        self.find(&Asked { pid, comm, uid, cgroup: Some(cgroup).filter(|id| *id != 0) })
    }
}
