//! The path of a control group by its id, which every event carries: so a process that is gone before it is looked at
//! still has its unit and its container.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use super::cgroup::Membership;

/// Groups remembered; with that many known all are forgotten, and read again when asked for.
const LIMIT: usize = 4096;
/// `FILEID_KERNFS` of include/linux/exportfs.h: the handle is the 64-bit id (Linux 5.5).
const KERNFS: i32 = 0xfe;

/// A `struct file_handle` of open_by_handle_at(2) with a handle of kernfs.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: u64,
}

/// Control groups of a cgroup v2 hierarchy by id. An id is never given twice (`kernfs_idr` counts up, with the
/// generation above it; fs/kernfs/dir.c, Linux 6.18) and a group of v2 cannot be renamed, so what is remembered stays
/// true.
#[derive(Debug, Default)]
pub struct CgroupIds {
    mount: Option<(File, PathBuf)>,
    known: HashMap<u64, Membership>,
}

impl CgroupIds {
    /// Groups of the hierarchy mounted at `root`. Where there is none, none is ever found.
    #[must_use]
    pub fn new(root: Option<PathBuf>) -> Self {
        let mount = root.and_then(|root| Some((File::open(&root).ok()?, root)));
        Self { mount, known: HashMap::new() }
    }

    /// Where the group with this id belongs; `None` where the group is gone or may not be opened.
    pub fn membership(&mut self, id: u64) -> Option<Membership> {
        if let Some(known) = self.known.get(&id) {
            return Some(known.clone());
        }
        let (mount, root) = self.mount.as_ref()?;
        match path(mount, root, id) {
            Ok(path) => {
                let found = Membership::of_path(path.as_os_str().as_bytes());
                if self.known.len() >= LIMIT {
                    self.known.clear();
                }
                self.known.insert(id, found.clone());
                Some(found)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                log::debug!("control groups are known by their processes alone: open_by_handle_at: {error}");
                self.mount = None;
                None
            }
            Err(_) => None,
        }
    }
}

/// The path below `root` of the group with this id.
fn path(mount: &File, root: &Path, id: u64) -> io::Result<PathBuf> {
    let handle = Handle { bytes: size_of::<u64>() as u32, kind: KERNFS, id };
    // SAFETY: the handle is as long as it says, and the kernel reads it during the call only.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw const handle,
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    let group = unsafe { OwnedFd::from_raw_fd(fd) };
    let path = fs::read_link(format!("/proc/self/fd/{}", group.as_raw_fd()))?;
    // One that is not below the mount is of another's cgroup namespace, or unlinked.
    path.strip_prefix(root).map(Path::to_path_buf).map_err(|_| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::kernel::cgroup;

    /// The id of a group is the inode number of its directory (`cgroup_ino`, include/linux/cgroup.h).
    fn id(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn a_group_is_found_by_its_id_and_remembered_when_gone() {
        let Some(root) = cgroup::root() else {
            eprintln!("SKIP: no cgroup v2 mounted");
            return;
        };
        let group = root.join(format!("rt-ids-{}.service", std::process::id()));
        if let Err(error) = fs::create_dir(&group) {
            eprintln!("SKIP: no group can be made: {error}");
            return;
        }
        let (unseen, mut seen) = (CgroupIds::new(Some(root.clone())), CgroupIds::new(Some(root.clone())));
        let id = id(&group);
        let found = seen.membership(id);
        fs::remove_dir(&group).unwrap();
        let name = group.file_name().and_then(|name| name.to_str());
        assert_eq!(found.as_ref().and_then(|found| found.unit.as_deref()), name);
        assert_eq!(seen.membership(id), found, "remembered");
        assert_eq!({ unseen }.membership(id), None, "never seen while it was there");
    }

    #[test]
    fn root_belongs_to_nobody_and_an_id_never_given_is_not_found() {
        let Some(root) = cgroup::root() else {
            eprintln!("SKIP: no cgroup v2 mounted");
            return;
        };
        let own = id(&root);
        let mut ids = CgroupIds::new(Some(root));
        assert_eq!(ids.membership(u64::MAX), None);
        if ids.mount.is_some() {
            assert_eq!(ids.membership(own), Some(Membership::default()));
        }
        assert_eq!(CgroupIds::default().membership(own), None, "no hierarchy");
    }
}
