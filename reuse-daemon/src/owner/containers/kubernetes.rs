//! Kubernetes: the directories and links that the kubelet makes for logs carry the names.

use std::{ffi::OsString, fs, path::Path, sync::Arc};

use reuse_model::process::plain_name;

use crate::owner::cgroup::{NAME_MAX, id_at_end};

/// Most entries of a directory looked at. A node runs some hundred pods; what ended stays for a while.
const ENTRY_LIMIT: usize = 16 * 1024;
/// Longest name of a namespace, a DNS label, and of a pod, a DNS subdomain.
const NAMESPACE_MAX: usize = 63;
const POD_MAX: usize = 253;

/// `namespace/name` of the pod with this uid, from `NAMESPACE_NAME_UID` (`BuildPodLogsDirectory`,
/// pkg/kubelet/kuberuntime/helpers.go, Kubernetes 1.34).
pub(super) fn pod(root: &Path, uid: &str) -> Option<Arc<str>> {
    entries(&root.join("var/log/pods")).find_map(|entry| {
        let (names, found) = entry.to_str()?.rsplit_once('_')?;
        let (namespace, name) =
            names.split_once('_').filter(|(_, name)| found == uid && !name.contains('_'))?;
        let namespace = plain_name(namespace.as_bytes(), NAMESPACE_MAX)?;
        Some(format!("{namespace}/{}", plain_name(name.as_bytes(), POD_MAX)?).into())
    })
}

/// The name in its pod of the container with this id, from `POD_NAMESPACE_CONTAINER-ID.log` (`logSymlink`,
/// pkg/kubelet/kuberuntime/legacy.go, Kubernetes 1.34).
pub(super) fn container(root: &Path, id: &str) -> Option<Arc<str>> {
    entries(&root.join("var/log/containers")).find_map(|entry| {
        let entry = entry.to_str()?.strip_suffix(".log")?;
        id_at_end(entry.as_bytes()).filter(|found| *found == id)?;
        let names = entry.strip_suffix(id)?.strip_suffix('-')?;
        let (_, name) = names.rsplit_once('_')?;
        plain_name(name.as_bytes(), NAME_MAX)
    })
}

fn entries(directory: &Path) -> impl Iterator<Item = OsString> {
    fs::read_dir(directory).into_iter().flatten().take(ENTRY_LIMIT).flatten().map(|entry| entry.file_name())
}
