//! Who a process is, as far as an operator wants to know it, and how the model asks for that.

use std::sync::Arc;

use crate::event::{Caller, Comm, Moment};

/// The first process: what has lost its parent is its child.
pub const INIT: u32 = 1;

/// Most bytes of an executable's name that reach a label, a log line or a report.
pub const EXECUTABLE_MAX: usize = 32;

/// The name of an executable that could not be read or has no usable character.
pub const UNKNOWN_EXECUTABLE: &str = "unknown";

/// A process as it was when it was looked up; kept also after it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id (`tgid`) in the initial pid namespace
    pub pid: u32,
    /// `comm` of the process
    pub comm: Comm,
    /// Base name of the executable: see [`executable_name`]
    pub executable: Arc<str>,
    /// Path of the executable as `/proc/PID/exe` gives it, untrusted bytes
    pub exe: Option<Arc<[u8]>>,
    /// Effective uid in the initial user namespace
    pub uid: u32,
    /// systemd unit, else container or pod, else executable; safe to print, as the names below are
    pub service: Arc<str>,
    /// systemd unit
    pub unit: Option<Arc<str>>,
    /// Container name, else the first 12 characters of its id
    pub container: Option<Arc<str>>,
    /// Kubernetes pod: `namespace/name`, else its uid
    pub pod: Option<Arc<str>>,
    /// When it started, to a hundredth of a second; `None` where that was not read
    pub started: Option<Moment>,
    /// Its parent when it was looked up, 0 of the first process and of kernel threads
    pub parent: Option<u32>,
    /// Whether it is one of the daemon's own processes, which no attempt, refusal or group family shows
    pub own: bool,
}

impl Process {
    /// A process of which only the kernel's event is known: the executable's name is made from its `comm`.
    #[must_use]
    pub fn from_comm(pid: u32, comm: Comm, uid: u32) -> Self {
        let executable = executable_name(comm.as_bytes());
        Self {
            pid,
            comm,
            service: Arc::clone(&executable),
            executable,
            exe: None,
            uid,
            unit: None,
            container: None,
            pod: None,
            started: None,
            parent: None,
            own: false,
        }
    }

    /// The process with what its control group says of it, which names its service.
    #[must_use]
    pub fn placed(self, unit: Option<Arc<str>>, container: Option<Arc<str>>, pod: Option<Arc<str>>) -> Self {
        let named = unit.as_ref().or(container.as_ref()).or(pod.as_ref());
        let service = Arc::clone(named.unwrap_or(&self.executable));
        Self { service, unit, container, pod, ..self }
    }
}

impl Process {
    /// Whether two are of one service, as far as their names can be trusted.
    #[must_use]
    pub fn is_of_one_service_with(&self, other: &Self) -> bool {
        self.service == other.service || self.may_be_one_program_with(other)
    }

    /// Whether two run one program in one place, as far as their names can be trusted.
    #[must_use]
    pub fn is_one_program_with(&self, other: &Self) -> bool {
        (self.executable == other.executable && self.is_in_one_place_with(other))
            || self.may_be_one_program_with(other)
    }

    /// Whether two have executables with different paths. Of one that was replaced the kernel says so behind its path
    /// (fs/d_path.c).
    #[must_use]
    pub fn runs_another_program_than(&self, other: &Self) -> bool {
        let path = |process: &Self| {
            let path = process.exe.clone()?;
            Some(path.strip_suffix(b" (deleted)").unwrap_or(&path).to_vec())
        };
        match (&self.exe, &other.exe) {
            (Some(one), Some(two)) => one != two && path(self) != path(other),
            _ => self.executable != other.executable && !self.may_be_one_program_with(other),
        }
    }

    fn is_in_one_place_with(&self, other: &Self) -> bool {
        (&self.unit, &self.container) == (&other.unit, &other.container)
    }

    /// Whether two that the kernel calls the same are told apart only because one was looked up too late.
    fn may_be_one_program_with(&self, other: &Self) -> bool {
        self.comm == other.comm
            && self.is_in_one_place_with(other)
            && (self.was_looked_up_late() || other.was_looked_up_late())
    }

    /// Whether the process was gone, or ran another program already, when its executable was looked for: the kernel calls a
    /// process by the first 15 bytes of its program's name.
    fn was_looked_up_late(&self) -> bool {
        const COMM_MAX: usize = 15;
        let named = self.executable.as_bytes();
        self.exe.is_none()
            || !named.starts_with(plain_name(self.comm.as_bytes(), COMM_MAX).unwrap_or_default().as_bytes())
    }
}

/// Answers who a process is. The answer is asked for once per event, so it has to come from memory nearly always.
pub trait Processes {
    /// The process with this id, of which the kernel said `comm` and the effective `uid`.
    fn process(&mut self, pid: u32, comm: Comm, uid: u32) -> Arc<Process>;

    /// The process that made a call, of which the kernel said the control group as well.
    fn caller(&mut self, caller: &Caller) -> Arc<Process> {
        self.process(caller.pid, caller.comm, caller.uid)
    }
}

/// The letters, digits and `._+-` of a name, cut to `limit` bytes: what is safe in a label, a log line and a shell.
/// `None` where nothing is left.
#[must_use]
pub fn plain_name(name: &[u8], limit: usize) -> Option<Arc<str>> {
    let plain: String = name
        .iter()
        .copied()
        .filter(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(byte))
        .take(limit)
        .map(char::from)
        .collect();
    (!plain.is_empty()).then(|| plain.into())
}

/// The base name of `path` as a [`plain_name`] of at most [`EXECUTABLE_MAX`] bytes, without the kernel's ` (deleted)`
/// behind the path of a replaced executable. [`UNKNOWN_EXECUTABLE`] where nothing is left.
#[must_use]
pub fn executable_name(path: &[u8]) -> Arc<str> {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    plain_name(base, EXECUTABLE_MAX).unwrap_or_else(|| Arc::from(UNKNOWN_EXECUTABLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_names_are_safe_and_short() {
        for (path, name) in [
            (b"/usr/sbin/nginx".as_slice(), "nginx"),
            (b"/usr/bin/python3.11 (deleted)", "python3.11"),
            (b"/opt/a b\n\"c\\\xff/g++", "g++"),
            (b"/opt/x\n\"{}=,\xffy", "xy"),
            (b"", UNKNOWN_EXECUTABLE),
            (b"/bin/\xf0\x9f\x92\xa9", UNKNOWN_EXECUTABLE),
        ] {
            assert_eq!(&*executable_name(path), name);
        }
        assert_eq!(executable_name(&[b'a'; 4096]).len(), EXECUTABLE_MAX);
    }

    /// A process by its thread name and, where it was read in time or too late, its executable.
    fn named(comm: &[u8], exe: Option<&str>) -> Process {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(comm).for_each(|(to, from)| *to = *from);
        let mut process = Process::from_comm(7, Comm(bytes), 0);
        if let Some(exe) = exe {
            process.executable = executable_name(exe.as_bytes());
            process.service = Arc::clone(&process.executable);
            process.exe = Some(exe.as_bytes().into());
        }
        process
    }

    #[test]
    fn who_was_looked_up_too_late_is_known_by_what_the_kernel_calls_it() {
        let python = || named(b"python3", Some("/usr/bin/python3.11"));
        let gone = named(b"python3", None);
        assert_ne!(python().service, gone.service);
        assert!(python().is_of_one_service_with(&gone) && gone.is_one_program_with(&python()));
        assert!(!python().runs_another_program_than(&gone));
        let became = named(b"systemd-socket-", Some("/usr/bin/python3.11"));
        let in_time = named(b"systemd-socket-", Some("/usr/bin/systemd-socket-activate"));
        assert!(became.is_of_one_service_with(&in_time));
        assert!(!named(b"nginx", None).is_of_one_service_with(&gone));
    }

    #[test]
    fn programs_that_were_looked_up_in_time_are_told_apart() {
        let (one, other) = (named(b"nginx", Some("/usr/sbin/nginx")), named(b"nginx", Some("/opt/nginx")));
        assert!(one.is_one_program_with(&other), "an executable is its base name");
        assert!(one.runs_another_program_than(&other), "but a file of its own");
        assert!(!one.runs_another_program_than(&named(b"nginx", Some("/usr/sbin/nginx (deleted)"))));
        let boxed = |name: &str| named(b"nginx", None).placed(None, Some(Arc::from(name)), None);
        assert!(!boxed("a").is_one_program_with(&boxed("b")));
        assert!(!boxed("a").is_of_one_service_with(&boxed("b")));
    }

    #[test]
    fn service_is_the_unit_else_the_container_else_the_pod_else_the_executable() {
        let service = |unit: Option<&str>, container: Option<&str>, pod: Option<&str>| {
            let process = Process::from_comm(7, Comm(*b"srv\0\0\0\0\0\0\0\0\0\0\0\0\0"), 0);
            process.placed(unit.map(Arc::from), container.map(Arc::from), pod.map(Arc::from)).service
        };
        assert_eq!(&*service(Some("a.service"), Some("box"), Some("ns/pod")), "a.service");
        assert_eq!(&*service(None, Some("box"), Some("ns/pod")), "box");
        assert_eq!(&*service(None, None, Some("ns/pod")), "ns/pod");
        assert_eq!(&*service(None, None, None), "srv");
    }
}
