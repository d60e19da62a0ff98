//! Whether a network namespace hands the connections of a closing listener to another member of its group.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use reuse_model::socket::NetNs;

/// Time for which an answer stands.
const STANDS: Duration = Duration::from_secs(10);
/// Most namespaces that are remembered.
const NAMESPACES_MAX: usize = 4096;
/// `net.ipv4.tcp_migrate_req` (Linux 5.14), of the namespace of the thread that reads it.
const FILE: &str = "sys/net/ipv4/tcp_migrate_req";

/// The setting by namespace.
#[derive(Debug)]
pub(crate) struct Migration {
    proc: PathBuf,
    own: Option<NetNs>,
    /// A process that has a socket there, and so often lives there
    residents: HashMap<NetNs, u32>,
    known: HashMap<NetNs, (Option<bool>, Instant)>,
}

impl Migration {
    /// Of the host whose proc(5) is at `proc`.
    pub(crate) fn new(proc: impl Into<PathBuf>) -> Self {
        let proc = proc.into();
        let own = File::open(proc.join("self/ns/net")).and_then(|file| number(&file)).ok();
        Self { proc, own, residents: HashMap::new(), known: HashMap::new() }
    }

    /// Takes in that the process `pid` has a socket of that namespace.
    pub(crate) fn inhabit(&mut self, netns: NetNs, pid: u32) {
        if Some(netns) != self.own
            && (self.residents.len() < NAMESPACES_MAX || self.residents.contains_key(&netns))
        {
            self.residents.insert(netns, pid);
        }
    }

    /// The setting at the time `now`; `None` where the kernel has none, nobody is known to live there, or this process may
    /// not go there to look.
    pub(crate) fn of(&mut self, netns: NetNs, now: Instant) -> Option<bool> {
        if let Some((setting, read)) = self.known.get(&netns)
            && now.duration_since(*read) < STANDS
        {
            return *setting;
        }
        let setting = self.read(netns);
        if self.known.len() >= NAMESPACES_MAX {
            self.known.clear();
        }
        self.known.insert(netns, (setting, now));
        setting
    }

    fn read(&self, netns: NetNs) -> Option<bool> {
        let file = self.proc.join(FILE);
        if Some(netns) == self.own {
            return parse(&fs::read_to_string(file).ok()?);
        }
        let pid = self.residents.get(&netns)?;
        let namespace = File::open(self.proc.join(format!("{pid}/ns/net"))).ok()?;
        // It may have a socket of this namespace and live in another.
        (number(&namespace).ok()? == netns).then(|| read_in(&namespace, &file))?
    }
}

/// Reads the file in another namespace. A thread of its own goes there: nobody has to come back.
fn read_in(namespace: &File, file: &Path) -> Option<bool> {
    let read = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).ok()?;
        parse(&fs::read_to_string(file).ok()?)
    };
    thread::scope(|scope| scope.spawn(read).join().ok().flatten())
}

fn parse(text: &str) -> Option<bool> {
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

    #[test]
    fn the_own_namespaces_setting_is_what_procfs_says() {
        let own = number(&File::open("/proc/self/ns/net").expect("procfs")).expect("a number");
        let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req").ok();
        assert_eq!(Migration::new("/proc").of(own, Instant::now()), text.and_then(|text| parse(&text)));
    }

    #[test]
    fn where_nobody_lives_nothing_is_known() {
        let mut migration = Migration::new("/proc");
        assert_eq!(migration.of(NetNs(1), Instant::now()), None);
        migration.inhabit(NetNs(1), std::process::id());
        assert_eq!(migration.read(NetNs(1)), None, "this process lives elsewhere");
    }

    #[test]
    fn only_the_two_documented_values_mean_something() {
        assert_eq!(
            [parse("0\n"), parse("1\n"), parse("2\n"), parse("")],
            [Some(false), Some(true), None, None]
        );
    }
}
