//! What becomes of a socket after its bind: its options, its owner, and who else has it open.

use super::{Hook, Plan, Tier, WITH_SYSCALLS, Wanted, first_lack};
use crate::kernel::capabilities::{Capabilities, Capability};

impl Plan {
    /// Processes that are made, or run another program.
    pub(super) fn processes(&mut self, have: &Capabilities) {
        match first_lack(have, [Capability::SCHED_PROCESS_FORK, Capability::SCHED_PROCESS_EXEC]) {
            None => {
                for program in ["sched_process_fork", "sched_process_exec"] {
                    self.step(&[Tier::Processes], program, Hook::BtfTracepoint(program));
                }
            }
            Some(lack) => {
                let lost = "who inherits a socket, or runs another program with it, is found by the next \
                            reconciliation";
                self.gap(&[Tier::Processes], lack, lost);
            }
        }
    }

    /// The other system calls that change a socket, or take one from another process.
    pub(super) fn options(&mut self, have: &Capabilities, wanted: Wanted) {
        const PROGRAMS: [&str; 4] =
            ["sys_exit_setsockopt", "sys_exit_fchown", "sys_exit_fchownat", "sys_exit_pidfd_getfd"];
        if !wanted.syscalls {
            self.off(
                Tier::Options,
                "--trace.syscalls=false: options and owners that change after the bind are found by the next \
                 reconciliation, and who changed them is not known",
                WITH_SYSCALLS,
            );
        } else if let Some(lack) = have.lack(Capability::SyscallTracepoints) {
            let lost = "options and owners that change after the bind are found by the next reconciliation, and who \
                        changed them is not known";
            self.gap(&[Tier::Options], lack, lost);
        } else {
            for program in &PROGRAMS {
                self.step(&[Tier::Options], program, Hook::system_call(program));
            }
        }
    }
}
