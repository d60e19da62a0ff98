//! What is loaded in the kernel's BPF subsystem, asked with the bpf() system call itself: ids only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    mem::size_of,
};

use anyhow::{Context, Result};

/// A kind of BPF object with its "next id" command (`enum bpf_cmd`, `include/uapi/linux/bpf.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `BPF_PROG_GET_NEXT_ID`.
    Program,
    /// `BPF_MAP_GET_NEXT_ID`.
    Map,
    /// `BPF_LINK_GET_NEXT_ID`.
    Link,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Program, Self::Map, Self::Link];

    fn command(self) -> libc::c_int {
        match self {
            Self::Program => 11,
            Self::Map => 12,
            Self::Link => 31,
        }
    }

    /// The line of `/proc/PID/fdinfo/FD` that carries the id.
    fn fdinfo_key(self) -> &'static str {
        match self {
            Self::Program => "prog_id",
            Self::Map => "map_id",
            Self::Link => "link_id",
        }
    }
}

/// Ids of loaded objects, by kind.
pub type Objects = BTreeMap<Kind, BTreeSet<u32>>;

/// Every BPF object on the host.
///
/// # Errors
/// When the kernel refuses (it takes CAP_SYS_ADMIN).
pub fn loaded() -> Result<Objects> {
    Kind::ALL.into_iter().map(|kind| Ok((kind, ids(kind)?))).collect()
}

fn ids(kind: Kind) -> Result<BTreeSet<u32>> {
    /// The member of `union bpf_attr` these commands use.
    #[repr(C)]
    #[derive(Default)]
    struct NextId {
        start: u32,
        next: u32,
        open_flags: u32,
    }
    let mut found = BTreeSet::new();
    let mut attribute = NextId::default();
    loop {
        let size = size_of::<NextId>();
        // SAFETY: the pointer and the size describe `attribute`, which lives through the call.
        let outcome = unsafe { libc::syscall(libc::SYS_bpf, kind.command(), &raw mut attribute, size) };
        if outcome != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::ENOENT) {
                return Ok(found);
            }
            return Err(error).with_context(|| format!("listing BPF objects ({kind:?})"));
        }
        found.insert(attribute.next);
        attribute.start = attribute.next;
    }
}

/// Every BPF object some process has open; what is loaded beyond these is held by an attachment alone.
///
/// # Errors
/// When `/proc` cannot be read. Processes that end meanwhile are passed over.
pub fn held_by_processes() -> Result<Objects> {
    let mut held: Objects = Kind::ALL.into_iter().map(|kind| (kind, BTreeSet::new())).collect();
    for process in fs::read_dir("/proc").context("/proc")? {
        let Ok(descriptors) = fs::read_dir(process?.path().join("fdinfo")) else { continue };
        for descriptor in descriptors.flatten() {
            let text = fs::read_to_string(descriptor.path()).unwrap_or_default();
            for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
                let kind = Kind::ALL.into_iter().find(|kind| kind.fdinfo_key() == key);
                if let (Some(kind), Ok(id)) = (kind, value.trim().parse()) {
                    held.entry(kind).or_default().insert(id);
                }
            }
        }
    }
    Ok(held)
}

/// What is loaded now, was not loaded `before`, and no process holds: left behind.
///
/// # Errors
/// As [`loaded`] and [`held_by_processes`].
pub fn left_behind(before: &Objects) -> Result<Objects> {
    let (now, held) = (loaded()?, held_by_processes()?);
    let none = BTreeSet::new();
    let mut left = Objects::new();
    for (kind, ids) in now {
        let (before, held) = (before.get(&kind).unwrap_or(&none), held.get(&kind).unwrap_or(&none));
        let new: BTreeSet<u32> =
            ids.into_iter().filter(|id| !before.contains(id) && !held.contains(id)).collect();
        if !new.is_empty() {
            left.insert(kind, new);
        }
    }
    Ok(left)
}
