//! Binds and listens, by whatever way they come, and ports that are taken on the way.
//!
//! The tracepoints of system calls tell the kernel's own answer, but cost every other system call something; the root
//! cgroup's hooks cost no other call anything, see every way, and tell no answer.

use reuse_ebpf::offsets::Concern;

use super::{Hook, Plan, Tier, WITH_SYSCALLS, Wanted, first_lack};
use crate::kernel::capabilities::{Capabilities, Capability, Lack};

impl Plan {
    pub(super) fn calls(&mut self, have: &Capabilities, wanted: Wanted) {
        let tracepoints = wanted.syscalls && have.has(Capability::SyscallTracepoints);
        let refusals = self.refusals(have);
        // The hooks come first: what they count and nothing tells is a bind that was missed, not the reverse.
        self.hooks(have, tracepoints, &refusals);
        self.states(have, tracepoints);
        self.io_uring(have);
        if tracepoints {
            let tiers = [&[Tier::Bind, Tier::Listen, Tier::Answers], refusals.as_slice()].concat();
            let hook = Hook::Tracepoints("syscalls", &["sys_exit_bind", "sys_exit_listen"]);
            self.step(&tiers, "sys_exit_bind_listen", hook);
        } else if !wanted.syscalls {
            self.off(
                Tier::Answers,
                "--trace.syscalls=false: the kernel's own answers are not seen, refusals are inferred",
                WITH_SYSCALLS,
            );
        } else if let Some(lack) = have.lack(Capability::SyscallTracepoints) {
            self.gap(&[Tier::Answers], lack, "the kernel's own answers are not seen, refusals are inferred");
        }
    }

    /// What can be told of a refusal, whichever program sees it.
    fn refusals(&mut self, have: &Capabilities) -> Vec<Tier> {
        let mut tiers = Vec::new();
        match first_lack(have, [Capability::BpfLoop, Capability::Members(Concern::Holders)]) {
            None => tiers.push(Tier::Holders),
            Some(lack) => {
                self.gap(&[Tier::Holders], lack, "holders are those that the daemon remembers");
            }
        }
        match have.lack(Capability::Members(Concern::Circumstances)) {
            None => tiers.push(Tier::Circumstances),
            Some(lack) => {
                self.gap(&[Tier::Circumstances], lack, "other checks are not told from the port's");
            }
        }
        tiers
    }

    fn hooks(&mut self, have: &Capabilities, tracepoints: bool, refusals: &[Tier]) {
        const HOOKS: [(&str, &str); 4] = [
            ("reuse_bind4", "bind4"),
            ("reuse_bind6", "bind6"),
            ("reuse_post_bind4", "post_bind4"),
            ("reuse_post_bind6", "post_bind6"),
        ];
        let alone: &[Tier] = if tracepoints { &[] } else { &[Tier::Bind] };
        match (have.cgroup(), no_hooks(have)) {
            (Ok(root), None) => {
                let mut tiers = [&[Tier::OtherWays], alone].concat();
                if !tracepoints {
                    tiers.extend(refusals);
                }
                for (program, kind) in HOOKS {
                    self.step(&tiers, program, Hook::Cgroup(kind, root.to_owned()));
                }
            }
            (_, Some(lack)) | (Err(lack), _) => {
                let io_uring = match (have.io_uring_bind, no_completions(have)) {
                    (false, _) => "",
                    (true, None) => {
                        ", of a bind that io_uring refuses neither the address nor the rule is known"
                    }
                    (true, Some(_)) => ", nor those by io_uring",
                };
                let lost = format!(
                    "binds by 32-bit calls and by the kernel are not seen{io_uring}, and nothing checks that no bind is \
                     missed"
                );
                self.gap(&[Tier::OtherWays], lack, &lost);
                if !tracepoints {
                    self.gap(alone, lack, "binds are not seen");
                    self.gap(refusals, lack, "refused binds are not seen");
                }
            }
        }
    }

    fn states(&mut self, have: &Capabilities, tracepoints: bool) {
        let needed = [
            Capability::INET_SOCK_SET_STATE,
            Capability::Members(Concern::Connect),
            Capability::Members(Concern::Ways),
        ];
        let listens: &[Tier] = if tracepoints { &[] } else { &[Tier::Listen] };
        match first_lack(have, needed) {
            None => {
                let tiers = [&[Tier::ImplicitConnect], listens].concat();
                self.step(&tiers, "inet_sock_set_state", Hook::BtfTracepoint("inet_sock_set_state"));
            }
            Some(lack) if tracepoints => {
                let lost = "connects that found no port are not seen, nor listens by 32-bit calls and by the kernel, \
                            successful or refused";
                self.gap(&[Tier::ImplicitConnect], lack, lost);
            }
            Some(lack) => {
                let seen = have.io_uring_bind && no_completions(have).is_none();
                let but = if seen { ", but for those by io_uring" } else { "" };
                self.gap(&[Tier::ImplicitConnect], lack, "connects that found no port are not seen");
                self.gap(listens, lack, &format!("listens are not seen, successful or refused{but}"));
            }
        }
    }

    fn io_uring(&mut self, have: &Capabilities) {
        if !have.io_uring_bind {
            let reason = "this kernel's io_uring binds no sockets: there is nothing to see";
            return self.off(Tier::IoUring, reason, "none is needed");
        }
        match (no_completions(have), no_hooks(have)) {
            (None, _) => {
                self.step(&[Tier::IoUring], "io_uring_complete", Hook::BtfTracepoint("io_uring_complete"));
            }
            (Some(lack), None) => {
                let lost = "why io_uring refuses a bind is inferred, and its listens are not seen, successful or refused";
                self.gap(&[Tier::IoUring], lack, lost);
            }
            (Some(lack), Some(_)) => {
                self.gap(&[Tier::IoUring], lack, "binds and listens by io_uring are not seen");
            }
        }
    }

    /// Datagram sockets that take a port on the way.
    pub(super) fn sends(&mut self, have: &Capabilities, wanted: Wanted) {
        const PROGRAMS: [&str; 4] =
            ["sys_exit_sendto", "sys_exit_sendmsg", "sys_exit_sendmmsg", "sys_exit_connect"];
        let lack: Option<&Lack> = have.lack(Capability::SyscallTracepoints);
        if !wanted.sendto {
            self.off(
                Tier::ImplicitSend,
                "off by default: sends and connects of datagram sockets that found no port are not seen",
                "--trace.sendto=true, which costs every sendto, sendmsg and connect of the host 25 to 30 ns",
            );
        } else if let Some(lack) = lack {
            self.gap(&[Tier::ImplicitSend], lack, "sends that found no port are not seen");
        } else {
            for program in &PROGRAMS {
                self.step(&[Tier::ImplicitSend], program, Hook::system_call(program));
            }
        }
    }
}

/// Why the root cgroup's hooks cannot tell of binds.
fn no_hooks(have: &Capabilities) -> Option<&Lack> {
    first_lack(have, [Capability::Cgroup, Capability::Members(Concern::Ways)])
}

/// Why nothing tells what io_uring made of its binds and listens.
fn no_completions(have: &Capabilities) -> Option<&Lack> {
    first_lack(have, [Capability::IO_URING_COMPLETE, Capability::Members(Concern::IoUring)])
}
