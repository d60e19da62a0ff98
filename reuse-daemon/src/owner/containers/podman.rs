//! Podman and CRI-O: one list of all containers in the storage they share, and one of those that do not outlive a boot.

use std::{path::Path, sync::Arc};

use reuse_model::process::plain_name;
use serde::Deserialize;

use crate::owner::cgroup::NAME_MAX;

/// Largest list read; a container takes about a kilobyte.
const READ_LIMIT: u64 = 8 * 1024 * 1024;

/// Root's storage, and where it lies when kept in memory (containers-storage.conf(5)). Other users' storage is theirs
/// to write, so it is not read.
const DIRECTORIES: [&str; 2] =
    ["var/lib/containers/storage/overlay-containers", "run/containers/storage/overlay-containers"];
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// One container of the list (containers/storage, containers.go), as far as it is wanted.
#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

/// The first name of the container with this id.
pub(super) fn name(root: &Path, id: &str) -> Option<Arc<str>> {
    let lists = DIRECTORIES.iter().flat_map(|directory| LISTS.map(|list| root.join(directory).join(list)));
    lists.into_iter().find_map(|path| {
        let listed: Vec<Listed> = serde_json::from_slice(&super::read(&path, READ_LIMIT).ok()?).ok()?;
        let names = listed.into_iter().find(|container| container.id == id)?.names;
        plain_name(names.first()?.as_bytes(), NAME_MAX)
    })
}
