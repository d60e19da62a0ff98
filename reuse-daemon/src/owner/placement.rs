//! Where a process runs: its control group read, and what it names given names.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{
    cgroup::{Container, Membership},
    cgroup_ids::CgroupIds,
    containers::Containers,
};
use crate::kernel::cgroup;

/// Most bytes read of a `/proc/PID/cgroup`: a path of at most 4096 in each of some fifteen hierarchies.
const READ_LIMIT: u64 = 64 * 1024;

/// Where a process runs, in names that are safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// systemd unit
    pub unit: Option<Arc<str>>,
    /// Container name, else the first 12 characters of its id
    pub container: Option<Arc<str>>,
    /// Kubernetes pod: `namespace/name`, else its uid
    pub pod: Option<Arc<str>>,
    /// Whether a name was looked for and is not known: the runtime may write it a moment later
    pub lacks_name: bool,
}

/// Finds out where processes run.
#[derive(Debug)]
pub struct Placements {
    proc: PathBuf,
    /// Whether cgroup v2 is the only hierarchy, so that a group of it says everything
    unified: bool,
    ids: CgroupIds,
    containers: Containers,
}

impl Placements {
    /// Of this host, whose proc(5) is at `proc`.
    #[must_use]
    pub fn of_this_host(proc: impl Into<PathBuf>) -> Self {
        Self::new(proc.into(), CgroupIds::new(cgroup::root()), Containers::new("/"))
    }

    /// Of processes in `proc`, groups in `ids` and containers in `containers`.
    #[must_use]
    pub fn new(proc: PathBuf, ids: CgroupIds, containers: Containers) -> Self {
        let own = read(&proc.join("self/cgroup")).unwrap_or_default();
        let mut lines = own.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let unified = lines.next().is_some_and(|line| line.starts_with(b"0::")) && lines.next().is_none();
        Self { proc, unified, ids, containers }
    }

    /// Where the process runs that was in the cgroup v2 group `cgroup`, at the time `now`. `None` where that cannot be
    /// told: the process and the group are gone, or may not be looked at.
    pub fn of(&mut self, pid: u32, cgroup: Option<u64>, now: Instant) -> Option<Placement> {
        let member = self.membership(pid, cgroup)?;
        let mut placement = Placement { unit: member.unit.clone(), ..Placement::default() };
        if let Some(container) = &member.container {
            let name = self.containers.container(&member, now);
            placement.lacks_name |= name.is_none();
            placement.container = Some(name.unwrap_or_else(|| Container::short(container)));
        }
        if let Some(uid) = &member.pod {
            let name = self.containers.pod(uid, now);
            placement.lacks_name |= name.is_none();
            placement.pod = Some(name.unwrap_or_else(|| Arc::clone(uid)));
        }
        Some(placement)
    }

    /// The group by its id is the one at the time of the event; the process may have moved on, or be another by now.
    fn membership(&mut self, pid: u32, cgroup: Option<u64>) -> Option<Membership> {
        let by_id = cgroup.and_then(|id| self.ids.membership(id));
        if self.unified && by_id.is_some() {
            return by_id;
        }
        let by_pid =
            read(&self.proc.join(format!("{pid}/cgroup"))).ok().map(|file| Membership::of_file(&file));
        match (by_id, by_pid) {
            (Some(by_id), Some(by_pid)) => Some(by_id.or(by_pid)),
            (by_id, by_pid) => by_id.or(by_pid),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(READ_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::scratch::Directory;

    const UID: &str = "11111111-2222-3333-4444-555555555555";

    fn placements(directory: &Directory) -> Placements {
        Placements::new(directory.path("proc"), CgroupIds::default(), Containers::new(directory.path("")))
    }

    #[test]
    fn names_are_shown_where_known_and_numbers_where_not() {
        let directory = Directory::new();
        let (id, in_pod) = ("a".repeat(64), "b".repeat(64));
        directory.write("proc/7/cgroup", format!("0::/system.slice/docker-{id}.scope\n"));
        directory.write("proc/8/cgroup", format!("0::/kubepods/besteffort/pod{UID}/{in_pod}\n"));
        let mut before = placements(&directory);
        let now = Instant::now();
        let docker = before.of(7, None, now).unwrap();
        assert_eq!((docker.container.as_deref(), docker.lacks_name), (Some("aaaaaaaaaaaa"), true));
        let pod = before.of(8, None, now).unwrap();
        assert_eq!((pod.pod.as_deref(), pod.lacks_name), (Some(UID), true));

        directory.write(format!("var/lib/docker/containers/{id}/config.v2.json"), r#"{"Name":"/web"}"#);
        directory.write(format!("var/log/pods/shop_cart_{UID}/x"), "");
        directory.write(format!("var/log/containers/cart_shop_server-{in_pod}.log"), "");
        let mut after = placements(&directory);
        let docker = after.of(7, None, now).unwrap();
        assert_eq!((docker.container.as_deref(), docker.lacks_name), (Some("web"), false));
        let pod = after.of(8, None, now).unwrap();
        assert_eq!((pod.pod.as_deref(), pod.container.as_deref()), (Some("shop/cart"), Some("server")));
        assert!(!pod.lacks_name && pod.unit.is_none(), "{pod:?}");
    }

    #[test]
    fn a_process_that_is_nowhere_is_told_from_one_that_is_gone() {
        let directory = Directory::new();
        directory.write("proc/7/cgroup", "0::/\n");
        assert_eq!(placements(&directory).of(7, None, Instant::now()), Some(Placement::default()));
        assert_eq!(placements(&directory).of(8, None, Instant::now()), None);
    }

    #[test]
    fn only_a_host_with_cgroup_v2_alone_is_unified() {
        let directory = Directory::new();
        for (own, unified) in [
            ("0::/user.slice\n", true),
            ("1:name=systemd:/\n0::/\n", false),
            ("0::/\n1:name=systemd:/\n", false),
            ("1:name=systemd:/\n", false),
            ("", false),
        ] {
            directory.write("proc/self/cgroup", own);
            assert_eq!(placements(&directory).unified, unified, "{own:?}");
        }
    }
}
