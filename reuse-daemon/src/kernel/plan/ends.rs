//! Sockets and processes that go.

use reuse_ebpf::offsets::Concern;

use super::{Hook, Plan, Tier, first_lack};
use crate::kernel::capabilities::{Capabilities, Capability};

impl Plan {
    pub(super) fn ends(&mut self, have: &Capabilities) {
        match have.cgroup() {
            Ok(root) => {
                self.step(&[Tier::Close], "sock_release", Hook::Cgroup("sock_release", root.to_owned()));
            }
            Err(lack) => self.gap(&[Tier::Close], lack, "closed sockets are noticed only by reconciliation"),
        }
        let needed = [Capability::SCHED_PROCESS_EXIT, Capability::Members(Concern::Exit)];
        match first_lack(have, needed) {
            None => self.step(&[Tier::Exit], "sched_process_exit", Hook::BtfTracepoint("sched_process_exit")),
            Some(lack) => {
                self.gap(&[Tier::Exit], lack, "owners that ended are noticed only by reconciliation");
            }
        }
    }
}
