//! Each loaded program at its hook, and which calls those of the root cgroup are to tell.

use std::fs::File;

use aya::programs::{CgroupAttachMode, Program, ProgramError, TracePoint};
use reuse_ebpf::record::Way;

use super::{Kernel, Stage};
use crate::kernel::{
    plan::{Hook, Step},
    tracefs,
};

impl Kernel {
    pub(super) fn attach_all(&mut self) {
        // Attaching a tracepoint reads its number there; without it the step itself says what failed.
        let _tracefs = tracefs::Mounted::ensure();
        self.each_loaded(|kernel, step| kernel.attach(step).map(|()| Stage::Attached));
        if let Err(error) = self.told.set(0, self.told_by_hooks(), 0) {
            log::warn!("binds by 32-bit calls, io_uring and the kernel are not told: {error}");
        }
    }

    /// What the root cgroup's hooks and the changes of state are to tell: each way that no other program does.
    fn told_by_hooks(&self) -> u32 {
        let hooks = ["reuse_bind4", "reuse_bind6", "reuse_post_bind4", "reuse_post_bind6"];
        let hooked = hooks.iter().all(|hook| self.is_attached(hook));
        let mut told = 0;
        for way in Way::EXPLICIT {
            let (bind, listen) = match way {
                Way::Syscall => {
                    let untold = !self.is_attached("sys_exit_bind_listen");
                    (untold, untold)
                }
                // A listen that io_uring refuses is told by its completion alone.
                Way::IoUring => (true, self.is_attached("io_uring_complete")),
                Way::Compat | Way::Kernel | Way::Implicit => (true, true),
            };
            told |= if bind && hooked { way.bit() } else { 0 } | if listen { way.listen_bit() } else { 0 };
        }
        told
    }

    fn attach(&mut self, step: &Step) -> Result<(), Box<dyn std::error::Error>> {
        match (self.program(step.program)?, &step.hook) {
            (Program::TracePoint(program), Hook::Tracepoints(category, names)) => {
                attach_to_each(program, category, names)?;
            }
            (Program::BtfTracePoint(program), _) => {
                program.attach()?;
            }
            (Program::FEntry(program), _) => {
                program.attach()?;
            }
            (Program::FExit(program), _) => {
                program.attach()?;
            }
            (Program::KProbe(program), Hook::FunctionProbe(name)) => {
                program.attach(name, 0)?;
            }
            (Program::CgroupSock(program), Hook::Cgroup(_, root)) => {
                program.attach(File::open(root)?, CgroupAttachMode::Single)?;
            }
            (Program::CgroupSockAddr(program), Hook::Cgroup(_, root)) => {
                program.attach(File::open(root)?, CgroupAttachMode::Single)?;
            }
            // Iterators are attached each time they are read, the test group's program by the test group.
            _ => {}
        }
        Ok(())
    }
}

/// To all of them or none: a step that fails is told by others.
fn attach_to_each(program: &mut TracePoint, category: &str, names: &[&str]) -> Result<(), ProgramError> {
    let mut links = Vec::new();
    for name in names {
        match program.attach(category, name) {
            Ok(link) => links.push(link),
            Err(error) => {
                for link in links {
                    program.detach(link)?;
                }
                return Err(error);
            }
        }
    }
    Ok(())
}
