//! Which sockets a process listens on, and which of them it waits for: a descriptor that a worker inherited and never
//! looks at is not its own.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

/// Inodes that the epoll descriptors of a process watch (`ep_show_fdinfo` in `fs/eventpoll.c`: `ino:` is hexadecimal).
///
/// # Errors
/// When the process is gone or not ours to look at.
pub fn watched(pid: u32) -> Result<BTreeSet<u64>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.clone())? {
        // A descriptor that was closed since the folder was read.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        for line in text.lines().filter(|line| line.starts_with("tfd:")) {
            let (_, rest) = line.split_once("ino:").with_context(|| format!("{folder}: {line:?}"))?;
            let inode = rest.split_whitespace().next().unwrap_or_default();
            inodes.insert(u64::from_str_radix(inode, 16).with_context(|| format!("{folder}: {line:?}"))?);
        }
    }
    Ok(inodes)
}

/// The descriptors of a process that are one of these sockets, by number: descriptor and inode.
///
/// # Errors
/// When the process is gone or not ours to look at.
pub fn listeners_of(pid: u32, members: &BTreeSet<u64>) -> Result<Vec<(u32, u64)>> {
    let folder = format!("/proc/{pid}/fd");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.clone())? {
        let path = entry?.path();
        if let Some(inode) = socket_at(&path).filter(|inode| members.contains(inode)) {
            let number = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            found.push((number.parse().with_context(|| path.display().to_string())?, inode));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Inodes of the sockets that a process has open.
///
/// # Errors
/// When the process is gone or not ours to look at.
pub(super) fn sockets_of(pid: u32) -> Result<BTreeSet<u64>> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).with_context(|| folder.clone())?;
    Ok(entries.flatten().filter_map(|entry| socket_at(&entry.path())).collect())
}

/// Inode of the socket that this descriptor is, `None` where it is something else or closed by now.
fn socket_at(path: &Path) -> Option<u64> {
    let target = fs::read_link(path).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
