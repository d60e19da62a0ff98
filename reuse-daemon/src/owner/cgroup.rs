//! What the path of a control group says of the processes in it: systemd unit, container, Kubernetes pod.
//!
//! Pure and total: any bytes give an answer, made of safe characters and of bounded length. The outermost name counts:
//! it was given by the host's own service manager or container runtime, while below a container or a delegated unit
//! anyone may make groups and name them as they like.

mod container;
mod pod;
mod unit;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use container::Container;
pub(super) use container::{NAME_MAX, id_at_end};

/// Where a control group belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// systemd unit, as `systemctl` writes it
    pub unit: Option<Arc<str>>,
    /// Container
    pub container: Option<Container>,
    /// Uid of the Kubernetes pod, with dashes
    pub pod: Option<Arc<str>>,
}

impl Membership {
    /// Reads one path: of cgroup v2, or of one hierarchy of v1.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Self {
        let mut found = Self::default();
        let mut manager = None;
        let mut parent: &[u8] = b"";
        // `..` begins a path outside of the reader's own cgroup namespace (cgroup_namespaces(7)).
        for group in path.split(|byte| *byte == b'/').filter(|group| !matches!(*group, b"" | b"." | b"..")) {
            found.pod = found.pod.or_else(|| pod::uid(group));
            if let Some(container) = container::of_group(parent, group) {
                // A runtime that was handed systemd's `slice:prefix:id` without speaking to systemd makes it a group
                // of its own unit, which does not run what is in the container.
                if group.contains(&b':') {
                    found.unit = None;
                }
                return Self { container: Some(container), ..found };
            }
            match unit::of_group(group) {
                Some(_) if found.unit.is_some() => {}
                Some(unit::Group::Unit(name)) => {
                    found.container = container::of_nspawn(&name);
                    found.unit = Some(name);
                    if found.container.is_some() {
                        return found;
                    }
                }
                Some(unit::Group::UserManager(name)) => manager = Some(name),
                // In a user's manager scopes hold what runs on a desktop or was started by hand, one by one, and are
                // named after process ids: no service.
                Some(unit::Group::Scope(name)) if manager.is_some() && &*name != unit::INIT_SCOPE => {
                    return found;
                }
                Some(unit::Group::Scope(_)) if manager.is_some() => {}
                Some(unit::Group::Scope(name)) => found.unit = Some(name),
                Some(unit::Group::Session) => return found,
                None => {}
            }
            parent = group;
        }
        found.unit = found.unit.or(manager);
        found
    }

    /// Reads a whole `/proc/PID/cgroup` (cgroups(7)): a line `id:controllers:path` for each hierarchy, `0::path` for
    /// cgroup v2.
    ///
    /// On a host with both, a runtime may tell only one of them of its containers: the other then shows the runtime's
    /// own unit. So a hierarchy that knows a container goes before one that knows a unit, and among equals cgroup v2
    /// first, systemd's own second.
    #[must_use]
    pub fn of_file(content: &[u8]) -> Self {
        let mut lines: Vec<_> = content.split(|byte| *byte == b'\n').filter_map(Line::parse).collect();
        lines.sort_by_key(|line| line.kind);
        lines.into_iter().map(|line| Self::of_path(line.path)).fold(Self::default(), Self::or)
    }

    /// The one of the two that knows more, `self` where they are equal.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rank() == 0
    }

    fn rank(&self) -> u8 {
        match self {
            Self { container: Some(_), .. } => 3,
            Self { pod: Some(_), .. } => 2,
            Self { unit: Some(_), .. } => 1,
            _ => 0,
        }
    }
}

/// Kinds of hierarchies in the order in which they are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    V2,
    Systemd,
    Controller,
}

struct Line<'a> {
    kind: Kind,
    path: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let kind = match (fields.next()?, fields.next()?) {
            (b"0", b"") => Kind::V2,
            (_, b"name=systemd") => Kind::Systemd,
            _ => Kind::Controller,
        };
        Some(Self { kind, path: fields.next()? })
    }
}
