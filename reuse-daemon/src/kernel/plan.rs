//! What to attach on a kernel with given capabilities: pure, one decision per thing the daemon wants to see.
//!
//! Each tier gets the best mechanism there is for it, or a gap that says what is missing, what is lost with it and what
//! would mend it.

mod calls;
mod changes;
mod ends;
mod hook;
mod selections;
#[cfg(test)]
mod tests;
mod tier;

use reuse_ebpf::offsets::Concern;

pub use self::{hook::Hook, tier::Tier};
use super::capabilities::{Capabilities, Capability, Lack};

/// One program to load and attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What for
    pub tiers: Vec<Tier>,
    /// Its name in the object
    pub program: &'static str,
    /// Where it goes
    pub hook: Hook,
}

impl Step {
    /// Whether a tier needs it.
    #[must_use]
    pub fn serves(&self, tier: Tier) -> bool {
        self.tiers.contains(&tier)
    }
}

/// A tier that this kernel cannot have, and what would mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which
    pub tier: Tier,
    /// Why, and what is lost
    pub reason: String,
    /// What to do about it
    pub remedy: &'static str,
}

/// What brings back what `--trace.syscalls=false` leaves out, and its price.
const WITH_SYSCALLS: &str = "leave that flag out, which costs every system call of the host 10 to 55 ns";

/// What to attach, in order, and what cannot be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of attaching: ends before beginnings, so that nothing is seen to begin whose end would be missed
    pub steps: Vec<Step>,
    /// What is missing
    pub gaps: Vec<Gap>,
    /// What could be had, and is not asked for: it costs others too much; or what there is nothing to see of
    pub off: Vec<Gap>,
}

/// What the operator wants to see, where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// System calls: their tracepoints cost every other system call of the host some nanoseconds
    pub syscalls: bool,
    /// Datagram sockets that get no port on the way: costs each `sendto` of the host, `sendmsg` and `connect` some more
    pub sendto: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { syscalls: true, sendto: false }
    }
}

/// Decides.
#[must_use]
pub fn plan(have: &Capabilities, wanted: Wanted) -> Plan {
    let mut plan = Plan::default();
    plan.readings(have);
    plan.ends(have);
    plan.calls(have, wanted);
    plan.sends(have, wanted);
    plan.processes(have);
    plan.options(have, wanted);
    plan.selections(have);
    plan
}

impl Plan {
    fn step(&mut self, tiers: &[Tier], program: &'static str, hook: Hook) {
        self.steps.push(Step { tiers: tiers.to_vec(), program, hook });
    }

    /// Says of each tier that it cannot be had for this lack, and what is lost.
    fn gap(&mut self, tiers: &[Tier], lack: &Lack, lost: &str) {
        self.gaps.extend(tiers.iter().map(|tier| Gap {
            tier: *tier,
            reason: format!("{}: {lost}", lack.why),
            remedy: lack.remedy,
        }));
    }

    fn off(&mut self, tier: Tier, reason: &str, remedy: &'static str) {
        self.off.push(Gap { tier, reason: reason.to_owned(), remedy });
    }

    /// What is read on request: iterators, and the daemon's own groups.
    fn readings(&mut self, have: &Capabilities) {
        let groups = self.groups(have);
        let more = self.particulars(have);
        match have.lack(Capability::TASK_FILE) {
            None => {
                let tiers = [&[Tier::Inventory], groups.as_slice(), &more].concat();
                self.step(&tiers, "snapshot", Hook::Iterator("task_file"));
            }
            Some(lack) => {
                self.gap(&[Tier::Inventory], lack, "sockets that were there first are not known");
                self.gap(&groups, lack, "groups are inferred from the options of their members");
                self.gap(&more, lack, "of sockets only their binds are known");
            }
        }
        let gauges = have.lack(Capability::Members(Concern::Gauges));
        match (have.lack(Capability::BPF_MAP_ELEM), gauges) {
            (None, None) => {
                self.step(&[Tier::Sample, Tier::Queues], "sample", Hook::Iterator("bpf_map_elem"));
            }
            (None, Some(lack)) => {
                self.step(&[Tier::Sample], "sample", Hook::Iterator("bpf_map_elem"));
                self.gap(&[Tier::Queues], lack, "queues and drops of sockets read as 0");
            }
            (Some(lack), _) => {
                self.gap(
                    &[Tier::Sample, Tier::Queues],
                    lack,
                    "selections are read without each socket's own numbers",
                );
            }
        }
        self.step(&[Tier::TestGroup], "own_group", Hook::OwnGroup);
    }

    /// What the iterators can tell of a socket that its bind does not.
    fn particulars(&mut self, have: &Capabilities) -> Vec<Tier> {
        let mut tiers = Vec::new();
        match have.lack(Capability::Members(Concern::Creator)) {
            None => tiers.push(Tier::Creator),
            Some(lack) => {
                self.gap(&[Tier::Creator], lack, "who made a socket is not told from who it was given to");
            }
        }
        match first_lack(have, [Capability::BpfLoop, Capability::Members(Concern::Multicast)]) {
            None => tiers.push(Tier::Multicast),
            Some(lack) => {
                self.gap(&[Tier::Multicast], lack, "sockets that share multicast are not told from others");
            }
        }
        tiers
    }

    /// What the iterators can tell of groups.
    fn groups(&mut self, have: &Capabilities) -> Vec<Tier> {
        let lost = "what picks a member of a group, and in which order they stand, is not known";
        if let Some(lack) = have.lack(Capability::Members(Concern::Groups)) {
            self.gap(&[Tier::Groups, Tier::GroupOrder], lack, lost);
            return Vec::new();
        }
        match first_lack(have, [Capability::BpfLoop, Capability::Members(Concern::GroupOrder)]) {
            None => vec![Tier::Groups, Tier::GroupOrder],
            Some(lack) => {
                self.gap(&[Tier::GroupOrder], lack, "which flows move when a member leaves is not known");
                vec![Tier::Groups]
            }
        }
    }
}

/// The first of these that is not there.
fn first_lack<const N: usize>(have: &Capabilities, needed: [Capability; N]) -> Option<&Lack> {
    needed.into_iter().find_map(|capability| have.lack(capability))
}
