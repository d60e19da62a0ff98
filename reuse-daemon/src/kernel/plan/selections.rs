//! Which member of a group got the traffic: by what wakes its socket, and by what refuses a datagram for it.

use reuse_ebpf::offsets::Concern;

use super::{Hook, Plan, Tier, first_lack};
use crate::kernel::capabilities::{Capabilities, Capability, Lack};

/// The functions that the tracepoint at wake-ups stands in (net/core/sock.c, net/mptcp/subflow.c).
const READABLE: &str = "sock_def_readable";
const SUBFLOW: &str = "subflow_data_ready";

const NO_FLOWS: &str = "no statistics on datagrams";
const NO_PASSING: &str = "who is sent a socket in a message is found by the next reconciliation";

impl Plan {
    pub(super) fn selections(&mut self, have: &Capabilities) {
        const TIERS: [Tier; 4] = [Tier::Selection, Tier::Flows, Tier::SelectionDrops, Tier::Passing];
        if let Some(lack) = have.lack(Capability::Members(Concern::Selection)) {
            return self.no_wakeups(&TIERS, lack);
        }
        let mut tiers = vec![Tier::Selection];
        match have.lack(Capability::Members(Concern::Flows)) {
            None => tiers.push(Tier::Flows),
            Some(lack) => self.gap(&[Tier::Flows], lack, NO_FLOWS),
        }
        match first_lack(have, [Capability::BpfLoop, Capability::Members(Concern::Passing)]) {
            None => tiers.push(Tier::Passing),
            Some(lack) => self.gap(&[Tier::Passing], lack, NO_PASSING),
        }
        self.wakeups(have, &tiers);
        self.refused(have);
    }

    /// The tracepoint that shows the datagram; the end of the function that queues it, by a trampoline; the tracepoint that
    /// does not show it, which in the oldest kernels tells of IPv4 alone.
    fn refused(&mut self, have: &Capabilities) {
        const TIER: [Tier; 1] = [Tier::SelectionDrops];
        let tracepoint = Hook::BtfTracepoint("udp_fail_queue_rcv_skb");
        let no_tracepoint = have.lack(Capability::UDP_FAIL_QUEUE_RCV_SKB);
        if no_tracepoint.is_none() && have.has(Capability::UdpRefusedDatagram) {
            self.step(&TIER, "udp_refused", tracepoint);
        } else if have.has(Capability::Fentry) && have.has(Capability::UDP_ENQUEUE_SCHEDULE_SKB) {
            self.step(&TIER, "udp_queued", Hook::FunctionExit("__udp_enqueue_schedule_skb"));
        } else if let Some(lack) = no_tracepoint {
            let lost =
                "datagrams refused by a full buffer are not in the selections; group_drops_total has them";
            self.gap(&TIER, lack, lost);
        } else {
            self.step(&TIER, "udp_refused_unseen", tracepoint);
        }
    }

    /// The tracepoint at wake-ups, or the entries of the functions that it stands in, by a trampoline or by a probe.
    fn wakeups(&mut self, have: &Capabilities, tiers: &[Tier]) {
        let Some(no_tracepoint) = have.lack(Capability::SK_DATA_READY) else {
            return self.step(tiers, "sk_data_ready", Hook::BtfTracepoint("sk_data_ready"));
        };
        let no_function = match have.lack(Capability::SOCK_DEF_READABLE) {
            Some(lack) => lack,
            None if have.has(Capability::Fentry) => {
                return self.functions(have, tiers, [READABLE, SUBFLOW], Hook::FunctionEntry);
            }
            None => match have.lack(Capability::Kprobe) {
                Some(lack) => lack,
                None => {
                    let programs = ["sock_def_readable_probe", "subflow_data_ready_probe"];
                    return self.functions(have, tiers, programs, Hook::FunctionProbe);
                }
            },
        };
        let both = Lack {
            why: format!("{}, and {}", no_tracepoint.why, no_function.why),
            remedy: no_tracepoint.remedy,
        };
        self.no_wakeups(tiers, &both);
    }

    /// Says of each tier what is lost where no program sees wake-ups.
    fn no_wakeups(&mut self, tiers: &[Tier], lack: &Lack) {
        for tier in tiers {
            let lost = match tier {
                Tier::Flows => NO_FLOWS,
                Tier::SelectionDrops => {
                    "of datagrams refused by a full buffer only the sockets' own count is known"
                }
                Tier::Passing => NO_PASSING,
                _ => "only the test group is counted",
            };
            self.gap(&[*tier], lack, lost);
        }
    }

    fn functions(
        &mut self,
        have: &Capabilities,
        tiers: &[Tier],
        [readable, subflow]: [&'static str; 2],
        hook: fn(&'static str) -> Hook,
    ) {
        self.step(tiers, readable, hook(READABLE));
        // A kernel without MPTCP has no such function, and no such sockets.
        if have.has(Capability::SUBFLOW_DATA_READY) {
            self.step(&[Tier::Selection], subflow, hook(SUBFLOW));
        }
    }
}
