//! Groups that the kubelet makes for pods.

use std::sync::Arc;

/// The uid of the pod whose group this is: `podUID` where the kubelet makes groups itself,
/// `kubepods-burstable-podUID.slice` with underscores where systemd does (pkg/kubelet/cm/cgroup_manager_linux.go and
/// pod_container_manager_linux.go, Kubernetes 1.34). Dashes in any case.
pub(super) fn uid(group: &[u8]) -> Option<Arc<str>> {
    // A runtime may have been handed `slice:prefix:id` and taken it for a name.
    let slice = group.split(|byte| *byte == b':').next()?;
    let name = std::str::from_utf8(slice.strip_suffix(b".slice").unwrap_or(slice)).ok()?;
    let (before, uid) = name.rsplit_once("pod")?;
    if !(before.is_empty() || before.ends_with('-')) || !is_uid(uid.as_bytes()) {
        return None;
    }
    Some(uid.replace('_', "-").to_ascii_lowercase().into())
}

/// A UUID; or, for a static pod, the hash of its manifest: 32 hexadecimal characters.
fn is_uid(uid: &[u8]) -> bool {
    let is_hash = || uid.len() == 32 && uid.iter().all(u8::is_ascii_hexdigit);
    let is_uuid = || {
        uid.len() == 36
            && uid.iter().enumerate().all(|(index, byte)| match index {
                8 | 13 | 18 | 23 => b"-_".contains(byte),
                _ => byte.is_ascii_hexdigit(),
            })
    };
    is_hash() || is_uuid()
}
