//! Names of network namespaces: `host`, the container or unit that runs there, the name `ip netns` gave, else `other`.

mod residents;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use reuse_model::{process::Process, socket::NetNs, text::escape};

use residents::Residents;

/// Least time between two readings for a namespace that had no name: the kernel gives the number of one that is gone to the
/// next, which may have one.
const REFRESH: Duration = Duration::from_millis(100);
/// Least time between two readings: a storm of new namespaces costs no more than this.
const BURST: Duration = Duration::from_millis(10);
/// Most names read of the directory.
const NAME_LIMIT: usize = 4096;

/// Network namespaces by inode number.
///
/// `host` is the namespace of PID 1, or where that one may not be looked at the daemon's own. `ip netns add NAME`
/// makes NAME a bind mount of the namespace's file (ip-netns(8)), so the inode number tells which it is.
///
/// A container's or pod's name goes before such a name, which its runtime may have made up; a unit's behind it, for
/// several units may have been put in a namespace that the operator named.
#[derive(Debug)]
pub struct Namespaces {
    proc: PathBuf,
    named: PathBuf,
    names: HashMap<NetNs, Arc<str>>,
    residents: Residents,
    host: Arc<str>,
    other: Arc<str>,
    /// Numbers that had no name when last looked for
    nameless: HashSet<NetNs>,
    read: Option<Instant>,
}

impl Namespaces {
    /// Namespaces of the host whose proc(5) is at `proc` (on a host `/proc`) and whose `ip netns` names are in the
    /// directory `named` (on a host `/run/netns`); nothing is read yet.
    #[must_use]
    pub fn new(proc: impl Into<PathBuf>, named: impl Into<PathBuf>) -> Self {
        Self {
            proc: proc.into(),
            named: named.into(),
            names: HashMap::new(),
            residents: Residents::default(),
            host: "host".into(),
            other: "other".into(),
            nameless: HashSet::new(),
            read: None,
        }
    }

    /// The name of the namespace at the time `now`. A number that was never asked for makes the names be read again:
    /// it may be of a namespace made a moment ago. One that had no name is looked for ten times a second; one whose name
    /// went away keeps it until then.
    pub fn name(&mut self, namespace: NetNs, now: Instant) -> Arc<str> {
        if let Some(name) = self.known(namespace) {
            return name;
        }
        let pause = if self.nameless.contains(&namespace) { REFRESH } else { BURST };
        if self.read.is_none_or(|read| now.duration_since(read) >= pause) {
            self.read = Some(now);
            self.refresh();
        }
        if let Some(name) = self.known(namespace) {
            return name;
        }
        if self.nameless.len() >= NAME_LIMIT {
            self.nameless.clear();
        }
        self.nameless.insert(namespace);
        Arc::clone(self.residents.unit(namespace).unwrap_or(&self.other))
    }

    /// Takes in that `process` has a socket of `namespace`. Where it also runs there, it may name it; it need not, for
    /// sockets are handed from one process to another.
    pub fn inhabit(&mut self, namespace: NetNs, process: &Process) {
        if !self.names.get(&namespace).is_some_and(|name| Arc::ptr_eq(name, &self.host)) {
            self.residents.meet(&self.proc, namespace, process);
        }
    }

    /// The name in force, without looking: the host's, a container's, one of `ip netns`.
    fn known(&self, namespace: NetNs) -> Option<Arc<str>> {
        let named = self.names.get(&namespace);
        named
            .filter(|name| Arc::ptr_eq(name, &self.host))
            .or(self.residents.container(namespace))
            .or(named)
            .cloned()
    }

    /// The host's own namespace, `None` where neither PID 1's nor the daemon's can be looked at.
    #[must_use]
    pub fn host(&self) -> Option<NetNs> {
        self.host_file().map(|(_, number)| number)
    }

    fn host_file(&self) -> Option<(u64, NetNs)> {
        ["1/ns/net", "self/ns/net"].iter().find_map(|file| identity(&self.proc.join(file)).ok())
    }

    fn refresh(&mut self) {
        self.names.clear();
        let Some((filesystem, host)) = self.host_file() else { return };
        self.names.insert(host, Arc::clone(&self.host));
        // A host that never ran `ip netns add` has no such directory.
        let Ok(entries) = fs::read_dir(&self.named) else { return };
        for entry in entries.flatten().take(NAME_LIMIT) {
            // A name left behind without its mount is a plain file on another file system.
            if let Ok((found, number)) = identity(&entry.path())
                && found == filesystem
            {
                let name = || Arc::from(escape(entry.file_name().as_encoded_bytes()));
                self.names.entry(number).or_insert_with(name);
            }
        }
    }
}

/// The file system and the number that identify the namespace of a file.
fn identity(path: &Path) -> io::Result<(u64, NetNs)> {
    let file = fs::metadata(path)?;
    let number = u32::try_from(file.ino()).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((file.dev(), NetNs(number)))
}
