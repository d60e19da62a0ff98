//! Who a pid is: the executable behind it, remembered so that an event seldom costs a look at procfs.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs, mem,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    sync::Arc,
};

use reuse_model::{
    event::Comm,
    process::{Process, Processes, executable_name},
};

/// Processes in one generation of the memory. Two generations of processes with a path of 100 bytes are some 5 MiB.
const GENERATION: usize = 8192;
/// Most bytes kept of an executable's path, which may be a page long.
const PATH_LIMIT: usize = 1024;

/// The processes of this host by pid.
///
/// A remembered process stands as long as its `comm` and uid are what the kernel says with the event: a new
/// executable brings a new `comm` along, and a pid that was given away is forgotten at the exit of its process. The
/// memory has two generations: what was not asked for while a whole generation came in is dropped.
#[derive(Debug)]
pub struct ProcessTable {
    proc: PathBuf,
    own: HashSet<u32>,
    young: HashMap<u32, Arc<Process>>,
    old: HashMap<u32, Arc<Process>>,
    generation: usize,
}

impl ProcessTable {
    /// Processes of the host whose proc(5) is at `proc` (on a host `/proc`); `own` are the daemon's own.
    #[must_use]
    pub fn new(proc: impl Into<PathBuf>, own: impl IntoIterator<Item = u32>) -> Self {
        Self::with_generation(proc.into(), own.into_iter().collect(), GENERATION)
    }

    fn with_generation(proc: PathBuf, own: HashSet<u32>, generation: usize) -> Self {
        Self { proc, own, young: HashMap::new(), old: HashMap::new(), generation }
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

    fn drop_remembered(&mut self, pid: u32) {
        self.young.remove(&pid);
        self.old.remove(&pid);
    }

    fn remember(&mut self, process: Arc<Process>) {
        if self.young.len() >= self.generation {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(process.pid, process);
    }

    /// Makes a process from its executable, or from its `comm` where there is none to read: a kernel thread, one that
    /// is gone, one that may not be looked at.
    fn read(&self, pid: u32, comm: Comm, uid: u32) -> Process {
        let unread = Process { own: self.own.contains(&pid), ..Process::from_comm(pid, comm, uid) };
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
}

impl Processes for ProcessTable {
    fn process(&mut self, pid: u32, comm: Comm, uid: u32) -> Arc<Process> {
        let is_current = |process: &&Arc<Process>| process.comm == comm && process.uid == uid;
        if let Some(known) = self.young.get(&pid).filter(is_current) {
            return Arc::clone(known);
        }
        let process = match self.old.remove(&pid).filter(|process| is_current(&process)) {
            Some(known) => known,
            None => Arc::new(self.read(pid, comm, uid)),
        };
        self.remember(Arc::clone(&process));
        process
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::owner::scratch::Directory;

    fn comm(text: &[u8]) -> Comm {
        let mut bytes = [0; 16];
        bytes[..text.len()].copy_from_slice(text);
        Comm(bytes)
    }

    fn link(directory: &Directory, pid: u32, target: &str) {
        let exe = directory.path(format!("{pid}/exe"));
        let _ = fs::remove_file(&exe);
        fs::create_dir_all(exe.parent().unwrap()).unwrap();
        symlink(target, exe).unwrap();
    }

    fn table(directory: &Directory) -> ProcessTable {
        ProcessTable::with_generation(directory.path(""), HashSet::new(), 4)
    }

    #[test]
    fn executable_names_the_process() {
        let directory = Directory::new();
        link(&directory, 7, "/usr/sbin/nginx (deleted)");
        let process = table(&directory).process(7, comm(b"nginx: master"), 33);
        assert_eq!((&*process.executable, &*process.service, process.uid), ("nginx", "nginx", 33));
        assert_eq!(process.exe.as_deref(), Some(b"/usr/sbin/nginx (deleted)".as_slice()));
    }

    #[test]
    fn comm_names_a_process_without_a_readable_executable() {
        let directory = Directory::new();
        let process = table(&directory).process(7, comm(b"kworker/0:1\n"), 0);
        assert_eq!((&*process.executable, process.exe.as_deref()), ("01", None));
    }

    #[test]
    fn hostile_names_stay_in_bounds() {
        let directory = Directory::new();
        let path = format!("/{}/evil\n\"{{}}\\{}", "d".repeat(2000), "x".repeat(200));
        link(&directory, 7, &path);
        let process = table(&directory).process(7, comm(b"\xff\xfe\"\n"), 0);
        assert!(process.executable.starts_with("evilxx") && process.executable.len() <= 32, "{process:?}");
        assert_eq!(process.exe.as_ref().map(|path| path.len()), Some(PATH_LIMIT));
    }

    #[test]
    fn a_known_process_is_not_read_again() {
        let directory = Directory::new();
        link(&directory, 7, "/bin/one");
        let mut table = table(&directory);
        table.process(7, comm(b"one"), 0);
        link(&directory, 7, "/bin/two");
        assert_eq!(&*table.process(7, comm(b"one"), 0).executable, "one");
        assert_eq!(&*table.process(7, comm(b"two"), 0).executable, "two", "a new comm");
        link(&directory, 7, "/bin/three");
        assert_eq!(table.process(7, comm(b"two"), 5).uid, 5, "a new uid");
        link(&directory, 7, "/bin/four");
        table.forget(7);
        assert_eq!(&*table.process(7, comm(b"two"), 5).executable, "four", "forgotten");
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_asked_for() {
        let directory = Directory::new();
        link(&directory, 1, "/bin/kept");
        let mut table = table(&directory);
        table.process(1, comm(b"kept"), 0);
        link(&directory, 1, "/bin/read-again");
        for pid in 2..100 {
            table.process(pid, comm(b"other"), 0);
            assert_eq!(&*table.process(1, comm(b"kept"), 0).executable, "kept");
            assert!(table.young.len() + table.old.len() <= 8, "grows");
        }
        for pid in 2..100 {
            table.process(pid, comm(b"other"), 0);
        }
        assert_eq!(&*table.process(1, comm(b"kept"), 0).executable, "read-again", "never dropped");
    }

    #[test]
    fn own_processes_are_marked_until_they_end() {
        let directory = Directory::new();
        let mut table = ProcessTable::new(directory.path(""), [7]);
        assert!(table.process(7, comm(b"a"), 0).own);
        assert!(!table.process(8, comm(b"a"), 0).own);
        table.add_own(8);
        assert!(table.process(8, comm(b"a"), 0).own);
        table.forget(8);
        assert!(!table.process(8, comm(b"a"), 0).own);
    }

    #[test]
    fn this_process_is_found() {
        let pid = std::process::id();
        let own = fs::read_link("/proc/self/exe").unwrap();
        let process = ProcessTable::new("/proc", [pid]).process(pid, comm(b"test"), 0);
        assert_eq!(process.exe.as_deref(), Some(own.as_os_str().as_encoded_bytes()));
    }
}
