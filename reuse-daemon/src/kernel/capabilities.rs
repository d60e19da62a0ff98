//! What this kernel offers, found out once, by looking and where looking does not tell by trying.

mod lockdown;
mod name;
mod probe;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use reuse_ebpf::offsets::Concern;

pub use self::{lockdown::Lockdown, name::Capability};
use super::cast::Cast;

/// Why something is not there, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// In words that a sentence may go on from
    pub why: String,
    /// What to do
    pub remedy: &'static str,
}

impl Lack {
    fn new(why: impl Into<String>, remedy: &'static str) -> Self {
        Self { why: why.into(), remedy }
    }
}

/// The concerns that programs loop for.
pub const LOOPING: [Concern; 4] =
    [Concern::Holders, Concern::GroupOrder, Concern::Multicast, Concern::Passing];

/// What matters for the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Root of the cgroup v2 hierarchy
    cgroup: PathBuf,
    /// Offset of the result in the record of a system call's exit, bytes
    exit_result: u32,
    /// The kernel's release
    pub release: String,
    /// How far it is locked down
    pub lockdown: Lockdown,
    /// The file that its types were read from
    pub types: PathBuf,
    /// Each hook and member that is not as declared: this kernel is newer than the declaration, or patched
    pub deviations: Vec<String>,
    /// io_uring can bind and listen (6.11)
    pub io_uring_bind: bool,
    cast: Option<Cast>,
    lacks: BTreeMap<Capability, Lack>,
}

impl Capabilities {
    /// A kernel with everything.
    #[must_use]
    pub fn everything(cgroup: PathBuf, exit_result: u32) -> Self {
        Self {
            cgroup,
            exit_result,
            release: String::new(),
            lockdown: Lockdown::Off,
            types: PathBuf::new(),
            deviations: Vec::new(),
            io_uring_bind: true,
            cast: None,
            lacks: BTreeMap::new(),
        }
    }

    /// The same kernel without this; what was lacking for another reason stays so.
    #[must_use]
    pub fn without(mut self, capability: Capability, lack: Lack) -> Self {
        self.lacks.entry(capability).or_insert(lack);
        self
    }

    /// The same kernel, as if it had not what the operator wants to do without.
    #[must_use]
    pub fn avoiding(self, avoid: &[Capability]) -> Self {
        avoid.iter().fold(self, |have, capability| {
            let why = format!("{capability} is to be avoided");
            have.without(*capability, Lack::new(why, "leave out --trace.avoid"))
        })
    }

    /// Why it is not there; `None` where it is.
    #[must_use]
    pub fn lack(&self, capability: Capability) -> Option<&Lack> {
        self.lacks.get(&capability)
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.lack(capability).is_none()
    }

    /// What is not there.
    pub fn lacks(&self) -> impl Iterator<Item = (Capability, &Lack)> {
        self.lacks.iter().map(|(capability, lack)| (*capability, lack))
    }

    /// Root of the cgroup v2 hierarchy.
    ///
    /// # Errors
    /// Why there is none.
    pub fn cgroup(&self) -> Result<&Path, &Lack> {
        self.lack(Capability::Cgroup).map_or(Ok(self.cgroup.as_path()), Err)
    }

    /// Offset of the result in the record of a system call's exit, bytes; the usual one where no such record is read.
    #[must_use]
    pub fn exit_result(&self) -> u32 {
        self.exit_result
    }

    /// By which numbers the programs cast addresses; `None` where they read through the helper.
    #[must_use]
    pub(in crate::kernel) fn cast(&self) -> Option<Cast> {
        self.cast.filter(|_| self.has(Capability::RdonlyCast))
    }

    /// The same kernel, which refuses programs that cast.
    #[must_use]
    pub(in crate::kernel) fn without_cast(self, why: &str) -> Self {
        self.without(
            Capability::RdonlyCast,
            Lack::new(why, "report what `reuse-daemon doctor --json` prints"),
        )
    }

    /// What the programs are to leave out: concerns that lack a member, and the walk and the search where they cannot loop.
    #[must_use]
    pub fn left_out(&self) -> Vec<Concern> {
        let lacking = |concern: &Concern| {
            !self.has(Capability::Members(*concern))
                || (LOOPING.contains(concern) && !self.has(Capability::BpfLoop))
        };
        Concern::COSTING.into_iter().filter(lacking).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_avoided_is_as_if_it_were_not_there() {
        let have = Capabilities::everything("/cgroup".into(), 16);
        assert!(have.has(Capability::BpfLoop) && have.left_out().is_empty());
        let lacking = Lack::new("no such tracepoint", "another kernel");
        let have = have.without(Capability::SK_DATA_READY, lacking.clone());
        let avoided = have.avoiding(&[Capability::BpfLoop, Capability::SK_DATA_READY]);
        assert_eq!(avoided.lack(Capability::SK_DATA_READY), Some(&lacking));
        let lack = avoided.lack(Capability::BpfLoop).expect("avoided");
        assert!(lack.why.contains("bpf_loop") && lack.remedy.contains("--trace.avoid"), "{lack:?}");
        assert_eq!(avoided.left_out(), LOOPING);
        assert!(avoided.has(Capability::Members(Concern::Holders)));
    }
}
