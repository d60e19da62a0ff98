//! Names of containers and pods, from what the runtimes of this host wrote about them.
//!
//! Only files and directories of the runtimes themselves are read, never one that a container can write: names of
//! directory entries are taken as names, links are not followed.

mod docker;
mod kubernetes;
mod podman;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::cgroup::{Container, Membership};

/// How long an answer stands, also that there is no name.
const EXPIRY: Duration = Duration::from_secs(5);
/// Most answers remembered; then all are forgotten.
const LIMIT: usize = 1024;

/// The runtimes' files of one host.
#[derive(Debug)]
pub struct Containers {
    root: PathBuf,
    names: HashMap<Container, Answer>,
    pods: HashMap<Arc<str>, Answer>,
}

#[derive(Clone, Debug)]
struct Answer {
    name: Option<Arc<str>>,
    asked: Instant,
}

impl Containers {
    /// Containers of the host whose root directory is `root`; nothing is read yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), names: HashMap::new(), pods: HashMap::new() }
    }

    /// The name of the member's container at the time `now`, where it has one and a file names it.
    pub fn container(&mut self, member: &Membership, now: Instant) -> Option<Arc<str>> {
        let container = member.container.as_ref()?;
        let id = match container {
            Container::Name(name) => return Some(Arc::clone(name)),
            Container::Id(id) => id,
        };
        let Self { root, names, .. } = self;
        remembered(names, container, now, || {
            let in_pod = member.pod.is_some().then(|| kubernetes::container(root, id));
            in_pod.flatten().or_else(|| docker::name(root, id)).or_else(|| podman::name(root, id))
        })
    }

    /// `namespace/name` of the pod with this uid at the time `now`, where the kubelet keeps logs of it.
    pub fn pod(&mut self, uid: &Arc<str>, now: Instant) -> Option<Arc<str>> {
        remembered(&mut self.pods, uid, now, || kubernetes::pod(&self.root, uid))
    }
}

fn remembered<K: Clone + Eq + std::hash::Hash>(
    answers: &mut HashMap<K, Answer>,
    key: &K,
    now: Instant,
    look: impl FnOnce() -> Option<Arc<str>>,
) -> Option<Arc<str>> {
    if let Some(answer) = answers.get(key).filter(|answer| now.duration_since(answer.asked) < EXPIRY) {
        return answer.name.clone();
    }
    if answers.len() >= LIMIT {
        answers.clear();
    }
    let name = look();
    answers.insert(key.clone(), Answer { name: name.clone(), asked: now });
    name
}

/// A regular file of at most `limit` bytes, whole.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Without waiting for someone to open the other end, should it be a pipe.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > limit {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
