//! Where the cgroup v2 hierarchy is mounted.

use std::{fs, path::PathBuf};

/// Root of the first cgroup v2 mount of this mount namespace, if there is one.
pub(crate) fn root() -> Option<PathBuf> {
    root_in(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// `mountinfo` (proc(5)): the fifth field is the mount point, the first after the dash the type.
fn root_in(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if !kind.starts_with("cgroup2 ") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        // A mount of a sub-group would see only what happens below it.
        (fields.next()? == "/")
            .then(|| fields.next().map(|path| PathBuf::from(path.replace("\\040", " "))))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mount_of_the_whole_hierarchy_counts() {
        let part = "30 24 0:26 /user.slice /mnt rw - cgroup2 cgroup2 rw\n";
        let whole = "31 24 0:26 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 none rw\n";
        let old = "29 24 0:25 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        assert_eq!(root_in(&format!("{part}{old}")), None);
        assert_eq!(root_in(&format!("{old}{part}{whole}")), Some("/sys/fs/cgroup/unified".into()));
    }
}
