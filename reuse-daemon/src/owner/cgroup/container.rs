//! Groups that container runtimes make.

use std::sync::Arc;

use reuse_model::process::plain_name;

use super::unit::unescape;

/// Characters of an id: 32 bytes in hexadecimal.
const ID_LENGTH: usize = 64;
/// Characters by which an id is shown, as `docker ps` and `crictl ps` do.
const SHORT: usize = 12;
/// Most bytes of a container's name.
pub(in crate::owner) const NAME_MAX: usize = 128;

/// A container, as its group names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// 64 hexadecimal characters
    Id(Arc<str>),
    /// A name
    Name(Arc<str>),
}

impl Container {
    /// What to show where no name is known: the name, or 12 characters of the id.
    #[must_use]
    pub fn short(&self) -> Arc<str> {
        match self {
            Self::Id(id) => id.get(..SHORT).map_or_else(|| Arc::clone(id), Arc::from),
            Self::Name(name) => Arc::clone(name),
        }
    }
}

/// The container of a group named `group` in one named `parent`.
pub(super) fn of_group(parent: &[u8], group: &[u8]) -> Option<Container> {
    if let Some(id) = id_at_end(group.strip_suffix(b".scope").unwrap_or(group)) {
        return Some(Container::Id(id.into()));
    }
    let name = match parent {
        b"lxc" | b"lxc.payload" => plain_name(group, NAME_MAX),
        _ => group.strip_prefix(b"lxc.payload.").and_then(|name| plain_name(name, NAME_MAX)),
    };
    name.or_else(|| machine(group)).map(Container::Name)
}

/// The container of a service that runs one by `systemd-nspawn`.
pub(super) fn of_nspawn(unit: &str) -> Option<Container> {
    let instance = unit.strip_prefix("systemd-nspawn@")?.strip_suffix(".service")?;
    plain_name(&unescape(instance), NAME_MAX).map(Container::Name)
}

/// The id that ends `name`: docker, containerd, CRI-O and podman all write `runtime-ID` or `slice:runtime:ID`, or the
/// id alone.
pub(in crate::owner) fn id_at_end(name: &[u8]) -> Option<&str> {
    let (before, id) = name.split_at_checked(name.len().checked_sub(ID_LENGTH)?)?;
    let stands_alone = before.last().is_none_or(|byte| b"-:".contains(byte));
    let is_id = id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (stands_alone && is_id).then(|| std::str::from_utf8(id).ok()).flatten()
}

/// A container registered with systemd-machined, which calls virtual machines so too: those of libvirt run on the host.
fn machine(group: &[u8]) -> Option<Arc<str>> {
    let name = group.strip_prefix(b"machine-")?.strip_suffix(b".scope")?;
    let name = unescape(std::str::from_utf8(name).ok()?);
    if name.starts_with(b"qemu-") { None } else { plain_name(&name, NAME_MAX) }
}
