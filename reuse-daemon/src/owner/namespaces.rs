//! Names of network namespaces: `host`, the names `ip netns` gave, else `other`.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use reuse_model::{socket::NetNs, text::escape};

/// Least time between two readings for a namespace that had no name.
const REFRESH: Duration = Duration::from_secs(1);
/// Least time between two readings: a storm of new namespaces costs no more than this.
const BURST: Duration = Duration::from_millis(10);
/// Most names read of the directory.
const NAME_LIMIT: usize = 4096;

/// Network namespaces by inode number.
///
/// `host` is the namespace of PID 1, or where that one may not be looked at the daemon's own. `ip netns add NAME`
/// makes NAME a bind mount of the namespace's file (ip-netns(8)), so the inode number tells which it is.
#[derive(Debug)]
pub struct Namespaces {
    proc: PathBuf,
    named: PathBuf,
    names: HashMap<NetNs, Arc<str>>,
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
            host: "host".into(),
            other: "other".into(),
            nameless: HashSet::new(),
            read: None,
        }
    }

    /// The name of the namespace at the time `now`. A number that was never asked for makes the names be read again:
    /// it may be of a namespace made a moment ago. One that had no name is looked for once a second; one whose name
    /// went away keeps it until then.
    pub fn name(&mut self, namespace: NetNs, now: Instant) -> Arc<str> {
        if let Some(name) = self.names.get(&namespace) {
            return Arc::clone(name);
        }
        let pause = if self.nameless.contains(&namespace) { REFRESH } else { BURST };
        if self.read.is_none_or(|read| now.duration_since(read) >= pause) {
            self.read = Some(now);
            self.refresh();
        }
        if let Some(name) = self.names.get(&namespace) {
            return Arc::clone(name);
        }
        if self.nameless.len() >= NAME_LIMIT {
            self.nameless.clear();
        }
        self.nameless.insert(namespace);
        Arc::clone(&self.other)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::scratch::Directory;

    /// Plain files stand for namespace files: they too have a file system and a number.
    fn namespace(directory: &Directory, path: &str) -> NetNs {
        identity(&directory.write(path, "")).unwrap().1
    }

    fn namespaces(directory: &Directory) -> Namespaces {
        Namespaces::new(directory.path("proc"), directory.path("netns"))
    }

    #[test]
    fn pid_one_is_host_and_mounts_have_their_names() {
        let directory = Directory::new();
        let host = namespace(&directory, "proc/1/ns/net");
        let blue = namespace(&directory, "netns/blue");
        let hostile = namespace(&directory, "netns/a\nb\\");
        let mut names = namespaces(&directory);
        let now = Instant::now();
        assert_eq!(&*names.name(host, now), "host");
        assert_eq!(&*names.name(blue, now), "blue");
        assert_eq!(&*names.name(hostile, now), r"a\x0ab\x5c");
        assert_eq!(&*names.name(NetNs(1), now), "other");
        assert_eq!(names.host(), Some(host));
    }

    #[test]
    fn a_name_that_is_no_namespace_names_none() {
        let directory = Directory::new();
        namespace(&directory, "proc/1/ns/net");
        namespace(&directory, "netns/blue");
        // A number of another file system, as a name has whose mount is gone.
        std::os::unix::fs::symlink("/proc/version", directory.path("netns/stale")).unwrap();
        let stale = identity(Path::new("/proc/version")).unwrap().1;
        assert_eq!(&*namespaces(&directory).name(stale, Instant::now()), "other");
    }

    #[test]
    fn own_namespace_is_host_where_pid_one_is_hidden() {
        let directory = Directory::new();
        let own = namespace(&directory, "proc/self/ns/net");
        assert_eq!(&*namespaces(&directory).name(own, Instant::now()), "host");
    }

    #[test]
    fn host_keeps_its_name_where_ip_netns_names_it_too() {
        let directory = Directory::new();
        let host = namespace(&directory, "proc/1/ns/net");
        fs::create_dir(directory.path("netns")).unwrap();
        fs::hard_link(directory.path("proc/1/ns/net"), directory.path("netns/mine")).unwrap();
        assert_eq!(&*namespaces(&directory).name(host, Instant::now()), "host");
    }

    #[test]
    fn a_number_never_asked_for_is_looked_up_at_once() {
        let directory = Directory::new();
        namespace(&directory, "proc/1/ns/net");
        let mut names = namespaces(&directory);
        let start = Instant::now();
        assert_eq!(&*names.name(NetNs(1), start), "other");
        let new = namespace(&directory, "netns/new");
        assert_eq!(&*names.name(new, start + BURST), "new");
    }

    #[test]
    fn a_namespace_without_a_name_is_looked_up_once_a_second() {
        let directory = Directory::new();
        namespace(&directory, "proc/1/ns/net");
        let mut names = namespaces(&directory);
        let start = Instant::now();
        let elsewhere = namespace(&directory, "elsewhere");
        assert_eq!(&*names.name(elsewhere, start), "other");
        fs::create_dir_all(directory.path("netns")).unwrap();
        fs::hard_link(directory.path("elsewhere"), directory.path("netns/late")).unwrap();
        assert_eq!(&*names.name(elsewhere, start + REFRESH / 2), "other", "read again within the second");
        assert_eq!(&*names.name(elsewhere, start + REFRESH), "late");
    }

    #[test]
    fn real_host_namespace_is_found() {
        let mut names = Namespaces::new("/proc", "/run/netns");
        let host = names.host().expect("this process's own namespace");
        assert_eq!(&*names.name(host, Instant::now()), "host");
    }
}
