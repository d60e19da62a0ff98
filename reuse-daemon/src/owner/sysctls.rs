//! Settings that each network namespace has of its own, read where somebody lives.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use reuse_model::{ephemeral::EphemeralPorts, socket::NetNs};

/// Time for which an answer stands.
const STANDS: Duration = Duration::from_secs(10);
/// Most namespaces that are remembered.
const NAMESPACES_MAX: usize = 4096;
/// Most processes whose namespace is looked at for one answer.
const RESIDENTS_ASKED: usize = 8;
/// Below proc(5): of the namespace of the thread that reads them.
const MIGRATE: &str = "sys/net/ipv4/tcp_migrate_req";
const RANGE: &str = "sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "sys/net/ipv4/ip_local_reserved_ports";

/// The settings by namespace.
#[derive(Debug)]
pub(crate) struct Sysctls {
    places: Places,
    migration: Answers<bool>,
    ephemeral: Answers<Arc<EphemeralPorts>>,
}

impl Sysctls {
    /// Of the host whose proc(5) is at `proc`.
    pub(crate) fn new(proc: impl Into<PathBuf>) -> Self {
        let proc = proc.into();
        let own = File::open(proc.join("self/ns/net")).and_then(|file| number(&file)).ok();
        let places = Places { proc, own, residents: HashMap::new() };
        Self { places, migration: Answers::default(), ephemeral: Answers::default() }
    }

    /// Takes in that the process `pid` has a socket of that namespace.
    pub(crate) fn inhabit(&mut self, netns: NetNs, pid: u32) {
        self.places.inhabit(netns, pid);
    }

    /// Whether the namespace hands the connections of a closing listener to another member of its group
    /// (`net.ipv4.tcp_migrate_req`, Linux 5.14), at the time `now`; `None` where the kernel has no such setting, nobody is known
    /// to live there, or this process may not go there to look.
    pub(crate) fn migrates(&mut self, netns: NetNs, now: Instant) -> Option<bool> {
        let read = || {
            let [setting] = self.places.read(netns, [MIGRATE], [])?;
            parse_flag(&setting)
        };
        self.migration.of(netns, now, read)
    }

    /// The ports that the kernel gives away there. `residents` are further processes that may live there.
    pub(crate) fn ephemeral_ports(
        &mut self,
        netns: NetNs,
        now: Instant,
        residents: impl IntoIterator<Item = u32>,
    ) -> Option<Arc<EphemeralPorts>> {
        let read = || {
            let [range, reserved] = self.places.read(netns, [RANGE, RESERVED], residents)?;
            EphemeralPorts::parse(&range, &reserved).map(Arc::new)
        };
        self.ephemeral.of(netns, now, read)
    }
}

/// What was read, for as long as it stands.
#[derive(Debug)]
struct Answers<T>(HashMap<NetNs, (Option<T>, Instant)>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone> Answers<T> {
    fn of(&mut self, netns: NetNs, now: Instant, read: impl FnOnce() -> Option<T>) -> Option<T> {
        if let Some((answer, read)) = self.0.get(&netns)
            && now.duration_since(*read) < STANDS
        {
            return answer.clone();
        }
        let answer = read();
        if self.0.len() >= NAMESPACES_MAX {
            self.0.clear();
        }
        self.0.insert(netns, (answer.clone(), now));
        answer
    }
}

/// Where the settings of a namespace can be read.
#[derive(Debug)]
struct Places {
    proc: PathBuf,
    own: Option<NetNs>,
    /// A process that has a socket there, and so often lives there
    residents: HashMap<NetNs, u32>,
}

impl Places {
    fn inhabit(&mut self, netns: NetNs, pid: u32) {
        if Some(netns) != self.own
            && (self.residents.len() < NAMESPACES_MAX || self.residents.contains_key(&netns))
        {
            self.residents.insert(netns, pid);
        }
    }

    /// The files of that namespace.
    fn read<const N: usize>(
        &self,
        netns: NetNs,
        files: [&str; N],
        further: impl IntoIterator<Item = u32>,
    ) -> Option<[String; N]> {
        let files = files.map(|file| self.proc.join(file));
        if Some(netns) == self.own {
            return read(&files);
        }
        let residents = self.residents.get(&netns).copied().into_iter().chain(further);
        let mut namespaces = residents
            .take(RESIDENTS_ASKED)
            .filter_map(|pid| File::open(self.proc.join(format!("{pid}/ns/net"))).ok());
        // One that has a socket of this namespace may live in another.
        let namespace = namespaces.find(|namespace| number(namespace).is_ok_and(|number| number == netns))?;
        read_in(&namespace, &files)
    }
}

/// Reads the files in another namespace. A thread of its own goes there: nobody has to come back.
fn read_in<const N: usize>(namespace: &File, files: &[PathBuf; N]) -> Option<[String; N]> {
    let read = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).ok()?;
        read(files)
    };
    thread::scope(|scope| scope.spawn(read).join().ok().flatten())
}

fn read<const N: usize>(files: &[PathBuf; N]) -> Option<[String; N]> {
    let texts: Vec<String> = files.iter().map_while(|file| fs::read_to_string(file).ok()).collect();
    texts.try_into().ok()
}

fn parse_flag(text: &str) -> Option<bool> {
    match text.trim() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn number(namespace: &File) -> io::Result<NetNs> {
    u32::try_from(namespace.metadata()?.ino()).map(NetNs).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> NetNs {
        number(&File::open("/proc/self/ns/net").expect("procfs")).expect("a number")
    }

    #[test]
    fn the_own_namespaces_settings_are_what_procfs_says() {
        let text = |file: &str| fs::read_to_string(format!("/proc/{file}")).ok();
        let mut sysctls = Sysctls::new("/proc");
        let now = Instant::now();
        assert_eq!(sysctls.migrates(own(), now), text(MIGRATE).and_then(|text| parse_flag(&text)));
        let ports = text(RANGE)
            .zip(text(RESERVED))
            .and_then(|(range, reserved)| EphemeralPorts::parse(&range, &reserved));
        assert_eq!(sysctls.ephemeral_ports(own(), now, []).as_deref(), ports.as_ref());
    }

    #[test]
    fn where_nobody_lives_nothing_is_known() {
        let mut sysctls = Sysctls::new("/proc");
        assert_eq!(sysctls.migrates(NetNs(1), Instant::now()), None);
        sysctls.inhabit(NetNs(1), std::process::id());
        let elsewhere = sysctls.places.read(NetNs(1), [MIGRATE], [std::process::id()]);
        assert_eq!(elsewhere, None, "this process lives elsewhere");
    }

    #[test]
    fn further_processes_are_asked_where_the_known_one_is_gone() {
        let mut sysctls = Sysctls::new("/proc");
        // As if this process came from elsewhere.
        sysctls.places.own = None;
        sysctls.inhabit(own(), u32::MAX);
        assert_eq!(sysctls.places.read(own(), ["version"], []), None);
        // The thread that reads may not enter its own namespace without rights, but finds it.
        let read = sysctls.places.read(own(), ["version"], [u32::MAX, std::process::id()]);
        assert_eq!(read.is_some(), nix::unistd::geteuid().is_root());
    }

    #[test]
    fn an_answer_stands_for_a_while() {
        let mut answers = Answers::default();
        let start = Instant::now();
        assert_eq!(answers.of(NetNs(1), start, || Some(1)), Some(1));
        assert_eq!(answers.of(NetNs(1), start + STANDS / 2, || Some(2)), Some(1));
        assert_eq!(answers.of(NetNs(1), start + STANDS, || Some(3)), Some(3));
        assert_eq!(answers.of(NetNs(2), start, || None), None);
    }

    #[test]
    fn only_the_two_documented_values_mean_something() {
        assert_eq!(
            [parse_flag("0\n"), parse_flag("1\n"), parse_flag("2\n"), parse_flag("")],
            [Some(false), Some(true), None, None]
        );
    }
}
