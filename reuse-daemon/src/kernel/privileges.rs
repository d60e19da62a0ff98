//! What the process must be allowed to do, checked before anything fails half-way.

use std::{fs, io};

use thiserror::Error;

/// A capability: number in include/uapi/linux/capability.h, name, what the daemon needs it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    bit: u32,
    /// Name
    pub name: &'static str,
    /// Why it is needed
    pub purpose: &'static str,
}

/// The first two are implied by CAP_SYS_ADMIN (include/linux/capability.h, `bpf_capable`, `perfmon_capable`).
pub const NEEDED: [Capability; 5] = [
    Capability { bit: 39, name: "CAP_BPF", purpose: "load programs and make maps" },
    Capability { bit: 38, name: "CAP_PERFMON", purpose: "read kernel memory from programs" },
    Capability { bit: 12, name: "CAP_NET_ADMIN", purpose: "attach to the root cgroup and to the test group" },
    Capability { bit: 19, name: "CAP_SYS_PTRACE", purpose: "read the executables of other users' processes" },
    Capability { bit: 2, name: "CAP_DAC_READ_SEARCH", purpose: "read tracefs, which only root may enter" },
];

const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;
const CAP_PERFMON: u32 = 38;

/// Capabilities are missing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", in_short(.missing, nix::unistd::geteuid().is_root()))]
pub struct NotPrivileged {
    /// Never empty
    pub missing: Vec<Capability>,
}

impl NotPrivileged {
    /// Each capability with its purpose.
    #[must_use]
    pub fn in_full(&self) -> String {
        let each = self.missing.iter().map(|needed| format!("{} (to {})", needed.name, needed.purpose));
        format!("missing {}", each.collect::<Vec<_>>().join(", "))
    }
}

/// Capabilities by name mean something to who has granted some of them already; all others are simply not root.
fn in_short(missing: &[Capability], is_root: bool) -> String {
    if missing.len() == NEEDED.len() && !is_root {
        return "run it as root (sudo); `reuse-daemon doctor` lists the capabilities a service needs"
            .to_owned();
    }
    let names: Vec<_> = missing.iter().map(|needed| needed.name).collect();
    let remedy = if is_root {
        "grant them to the container or the service"
    } else {
        "run it with sudo, or grant them to the service"
    };
    format!("missing {}: {remedy}", names.join(", "))
}

/// The effective capabilities of this process, a bit set.
///
/// # Errors
/// `/proc` is not there.
pub fn effective() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default().trim();
    u64::from_str_radix(hex, 16)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no CapEff in /proc/self/status"))
}

/// The needed capabilities that `set` does not grant.
pub fn missing(set: u64) -> impl Iterator<Item = Capability> {
    let has = move |bit: u32| set >> bit & 1 == 1;
    NEEDED.into_iter().filter(move |needed| {
        let implied = has(CAP_SYS_ADMIN) && matches!(needed.bit, CAP_BPF | CAP_PERFMON);
        !has(needed.bit) && !implied
    })
}

/// Makes sure that nothing is missing.
///
/// # Errors
/// [`NotPrivileged`] with the names.
pub fn check() -> Result<(), NotPrivileged> {
    let set = effective().unwrap_or_default();
    let missing: Vec<_> = missing(set).collect();
    if missing.is_empty() { Ok(()) } else { Err(NotPrivileged { missing }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_capabilities_lack_nothing_and_none_lacks_all() {
        assert_eq!(missing(u64::MAX).count(), 0);
        assert_eq!(missing(0).count(), NEEDED.len());
    }

    #[test]
    fn who_is_not_root_is_told_so_and_a_service_what_it_lacks() {
        let lacking = |set| NotPrivileged { missing: missing(set).collect() };
        let nobody = lacking(0);
        let short = in_short(&nobody.missing, false);
        assert!(short.contains("as root (sudo)") && !short.contains("CAP_"), "{short}");
        let contained = in_short(&nobody.missing, true);
        assert!(contained.contains("CAP_BPF") && contained.contains("to the container"), "{contained}");
        assert!(NEEDED.iter().all(|needed| nobody.in_full().contains(needed.purpose)), "{nobody}");
        let service = lacking(1 << CAP_SYS_ADMIN).to_string();
        assert!(
            service.starts_with("missing CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH:"),
            "{service}"
        );
    }

    #[test]
    fn sys_admin_stands_for_the_bpf_ones_only() {
        let names: Vec<_> = missing(1 << CAP_SYS_ADMIN).map(|needed| needed.name).collect();
        assert_eq!(names, ["CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    }
}
