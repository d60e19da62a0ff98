//! Looking at the running kernel.

use std::path::Path;

use nix::sys::utsname::uname;
use reuse_ebpf::hooks::{self, Hook, Place};

use super::{Capabilities, Capability, Lack, Lockdown};
use crate::kernel::{btf::Btf, cast::Cast, cgroup, layout::ProgramLayout, tracefs, trial};

const NEWER: &str = "use a newer kernel";
const REPORT: &str = "report what `reuse-daemon doctor --json` prints";
/// Where the result usually is: after the 8 bytes that all records begin with and the padded number of the call.
const USUAL_EXIT_RESULT: u32 = 16;

impl Capabilities {
    /// Looks at the running kernel, as if it had not what is to be avoided. What is dear to find out is tried only where
    /// something depends on it.
    #[must_use]
    pub fn of_running_kernel(
        btf: &Btf<'_>,
        layout: &ProgramLayout,
        types: &Path,
        lockdown: Lockdown,
        avoid: &[Capability],
    ) -> Self {
        let (cgroup, exit_result) = (cgroup::root(), tracefs::exit_result());
        let everything = Self::everything(
            cgroup.clone().unwrap_or_default(),
            *exit_result.as_ref().unwrap_or(&USUAL_EXIT_RESULT),
        );
        let release = uname().map(|name| name.release().to_string_lossy().into_owned());
        let mut have = Self {
            release: release.unwrap_or_else(|_| "unknown".to_owned()),
            lockdown,
            types: types.to_owned(),
            io_uring_bind: btf.enumerator("IORING_OP_BIND").is_some(),
            ..everything
        };
        if cgroup.is_none() {
            let lack = Lack::new(
                "the whole cgroup v2 hierarchy is not mounted",
                "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified",
            );
            have = have.without(Capability::Cgroup, lack);
        }
        if let Err(why) = exit_result {
            let remedy = "mount tracefs at /sys/kernel/tracing, or use a kernel with CONFIG_FTRACE_SYSCALLS";
            have = have.without(Capability::SyscallTracepoints, Lack::new(why, remedy));
        }
        if btf.enumerator("BPF_FUNC_loop").is_none() {
            let lack = Lack::new("this kernel has no bpf_loop", "use Linux 5.17 or later");
            have = have.without(Capability::BpfLoop, lack);
        }
        match Cast::find(btf) {
            Ok(cast) => have.cast = Some(cast),
            Err(why) => {
                let remedy =
                    "use Linux 6.9 or later, with its compiler for programs on (net.core.bpf_jit_enable=1)";
                have = have.without(Capability::RdonlyCast, Lack::new(why, remedy));
            }
        }
        for hook in hooks::ALL {
            have = have.with_hook(btf, hook);
        }
        for (concern, error) in layout.missing() {
            have.deviations.push(error.to_string());
            have = have.without(Capability::Members(concern), Lack::new(error.to_string(), REPORT));
        }
        have.avoiding(avoid).with_functions_tried(btf)
    }

    /// Compares a hook with the kernel's.
    fn with_hook(mut self, btf: &Btf<'_>, hook: &'static Hook) -> Self {
        let shown = btf.arguments(hook);
        match known(shown.as_deref(), hook) {
            Ok(true) => self,
            Ok(false) if *hook == hooks::UDP_FAIL_QUEUE_RCV_SKB => {
                let why = "udp_fail_queue_rcv_skb does not show the datagram";
                let lack = Lack::new(why, "use Linux 6.10 or later");
                self.without(Capability::UdpRefusedDatagram, lack)
            }
            Ok(false) => self,
            Err(lack) => {
                if shown.is_some() {
                    self.deviations.push(lack.why.clone());
                }
                self.without(Capability::of(hook), lack)
            }
        }
    }

    /// Tries what stands in for the tracepoints of sockets, where one is not there.
    fn with_functions_tried(self, btf: &Btf<'_>) -> Self {
        let best =
            [Capability::SK_DATA_READY, Capability::UDP_FAIL_QUEUE_RCV_SKB, Capability::UdpRefusedDatagram];
        let needed = best.into_iter().any(|capability| !self.has(capability));
        let function = hooks::SOCK_DEF_READABLE.name;
        let fentry = match btf.function_number(function) {
            Some(number) => trial::function_entry(number, needed).map_err(|error| error.to_string()),
            None => Err(format!("no function {function}")),
        };
        let mut have = self;
        if let Err(why) = fentry {
            let why = format!("the kernel refuses programs at functions ({why})");
            have = have.without(Capability::Fentry, Lack::new(why, NEWER));
        }
        if let Err(error) = trial::function_probe(function) {
            let why = format!("the kernel refuses probes at the entry of functions ({error})");
            have = have.without(Capability::Kprobe, Lack::new(why, "use a kernel with CONFIG_KPROBES"));
        }
        have
    }
}

/// Whether a hook's arguments are those of the newest known prototype, or an older one.
fn known(shown: Option<&[String]>, hook: &Hook) -> Result<bool, Lack> {
    let kind = match hook.place {
        Place::Tracepoint => "tracepoint",
        Place::Function => "function",
        Place::Iterator => "iterator",
    };
    let name = hook.name;
    let Some(shown) = shown else {
        return Err(Lack::new(format!("this kernel has no {kind} {name}"), NEWER));
    };
    let begins = |arguments: &[&str]| {
        shown.len() >= arguments.len() && shown.iter().zip(arguments).all(|(shown, known)| shown == known)
    };
    match hook.prototypes.iter().position(|prototype| begins(prototype.arguments)) {
        Some(index) => Ok(index == 0),
        None => Err(Lack::new(format!("the {kind} {name}({}) is not a known one", shown.join(", ")), REPORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    #[test]
    fn a_hook_is_known_by_the_arguments_that_are_read() {
        let hook = &hooks::UDP_FAIL_QUEUE_RCV_SKB;
        assert_eq!(known(Some(&shown(&["int", "struct sock *", "struct sk_buff *"])), hook), Ok(true));
        assert_eq!(known(Some(&shown(&["int", "struct sock *"])), hook), Ok(false));
        assert_eq!(
            known(Some(&shown(&["int", "struct sock *", "struct sk_buff *", "bool"])), hook),
            Ok(true)
        );
        let exit = &hooks::SCHED_PROCESS_EXIT;
        assert_eq!(known(Some(&shown(&["struct task_struct *", "bool"])), exit), Ok(true));
    }

    #[test]
    fn a_changed_or_absent_hook_is_lacking_by_name() {
        let hook = &hooks::SK_DATA_READY;
        let changed = known(Some(&shown(&["int", "struct sock *"])), hook).expect_err("changed");
        assert!(changed.why.contains("tracepoint sk_data_ready(int, struct sock *)"), "{changed:?}");
        let absent = known(None, hook).expect_err("absent");
        assert!(absent.why.contains("no tracepoint sk_data_ready"), "{absent:?}");
        let short = known(Some(&[]), hook).expect_err("no arguments");
        assert!(short.why.contains("sk_data_ready()"), "{short:?}");
    }
}
