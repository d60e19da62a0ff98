//! Loading and attaching, by the plan. What this kernel refuses becomes a gap with the kernel's own words, never a
//! silent hole; only what nothing works without stops the start.

mod error;
mod groundwork;
mod hooking;
mod maps;

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    panic, thread,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData},
    programs::{Iter, Program, ProgramError, SkReuseport},
};
use reuse_ebpf::flow::{LOOKS_PER_SECOND, LOOKS_PER_TICK_MAX};
use reuse_model::{event::Scope, rulebook};

use self::groundwork::Groundwork;
pub use self::{error::StartError, maps::Maps};
use super::{
    btf,
    capabilities::{Capabilities, Capability},
    cast::Cast,
    decode::Decoder,
    diagnostics, load, loader, object,
    owners::Owners,
    plan::{Gap, Step, Tier, Wanted},
    program_stats::{self, ProgramStats},
    snapshot::Pending,
    sys,
};
use crate::allocator;

/// How far a planned program came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The verifier took it
    Loaded,
    /// It is at its hook
    Attached,
    /// The kernel refused it; the gap says why
    Refused,
}

/// One planned program.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What was planned
    pub step: Step,
    /// What became of it
    pub stage: Stage,
}

/// The programs in the kernel, and the ends of their maps.
///
/// Dropping it detaches everything; only the program on the daemon's own group goes with that group's sockets.
pub struct Kernel {
    ebpf: Ebpf,
    /// Each planned program
    pub programs: Vec<Planned>,
    /// What is not seen, and why
    pub gaps: Vec<Gap>,
    /// What could be seen and was not asked for
    pub off: Vec<Gap>,
    /// What this kernel offers
    pub have: Capabilities,
    /// Which ways the hooks tell
    told: Array<MapData, u32>,
    decoder: Decoder,
    rules: rulebook::Kernel,
    /// This process is in the initial pid namespace
    all_processes: bool,
}

/// How to start.
pub struct Options<'a> {
    /// The BTF file; `None`: where it usually is
    pub btf: Option<&'a std::path::Path>,
    /// What the operator wants to see
    pub wanted: Wanted,
    /// What the operator wants to do without
    pub avoid: &'a [Capability],
    /// Highest level of kernel-side diagnostics (aya-log's number), 0 for none
    pub log_level: u8,
}

/// Loads and attaches everything the plan says. Must be called within a tokio runtime.
///
/// # Errors
/// Nothing of the kernel side can work.
pub fn start(options: &Options<'_>) -> Result<(Kernel, Maps), StartError> {
    // Making a loader takes a thread of its own.
    let (loader, groundwork) = thread::scope(|scope| {
        let loader = scope.spawn(loader::new);
        let groundwork = Groundwork::lay(options);
        (loader.join(), groundwork)
    });
    let mut loader = loader.unwrap_or_else(|panic| panic::resume_unwind(panic));
    let Groundwork { types, offsets, decoder, rules, have, plan } = groundwork?;
    let structure = have.cast().map_or(0, Cast::structure);
    let (result, looks) = (have.exit_result(), looks_per_tick(sys::tick()));
    loader
        .btf(Some(&types))
        .override_global("OFFSETS", &offsets, true)
        // Only the programs that cast have it.
        .override_global("CAST_TO", &structure, false)
        .override_global("EXIT_RESULT", &result, true)
        .override_global("LOOKS_PER_TICK", &looks, true)
        .override_global(aya_log::LEVEL, &options.log_level, true);
    let new = |ebpf, told, have| Kernel {
        ebpf,
        programs: plan
            .steps
            .iter()
            .map(|step| Planned { step: step.clone(), stage: Stage::Loaded })
            .collect(),
        gaps: plan.gaps.clone(),
        off: plan.off.clone(),
        have,
        told,
        decoder,
        rules,
        all_processes: true,
    };
    let mut kernel = Kernel::load(&mut loader, &types, have, new)?;
    if let Some(refusal) = kernel.refusal().filter(|_| kernel.have.cast().is_some()) {
        let have = kernel.have.clone().without_cast(&refusal);
        let by_helper = Kernel::load(&mut loader, &types, have, new)?;
        // What is refused both ways is refused for another reason.
        if by_helper.refused().count() < kernel.refused().count() {
            log::warn!("programs read kernel memory through the helper, which takes longer: {refusal}");
            kernel = by_helper;
        }
    }
    if options.log_level > 0 {
        diagnostics::forward_log(&mut kernel.ebpf);
    }
    if let Some(reason) = kernel.refused_inventory() {
        return Err(if btf::kernel_has_types() {
            StartError::Refused(reason)
        } else {
            StartError::NoTypes { reason }
        });
    }
    // One pass of the snapshot tells the programs which process is the daemon, before any of them is attached.
    kernel.snapshot().map_err(StartError::Inventory)?.learn_own_process().map_err(StartError::Inventory)?;
    let mut maps = kernel.maps()?;
    let owners = Owners::load(&mut kernel.ebpf, &types, decoder);
    maps.owners =
        owners.inspect_err(|error| log::warn!("owners are known from snapshots only: {error}")).ok();
    if maps.own_pid != std::process::id() {
        kernel.confined();
    }
    kernel.attach_all();
    drop(types);
    // Parsing BTF needed many times what is kept.
    allocator::return_memory();
    Ok((kernel, maps))
}

/// What a CPU may look at in one tick, of [`LOOKS_PER_SECOND`].
fn looks_per_tick(tick: Duration) -> u32 {
    let looks = tick.as_micros().saturating_mul(LOOKS_PER_SECOND.into()) / 1_000_000;
    u32::try_from(looks).unwrap_or(u32::MAX).clamp(1, LOOKS_PER_TICK_MAX)
}

impl Kernel {
    /// Makes the maps, and loads every planned program of what `new` makes from them.
    fn load(
        loader: &mut EbpfLoader<'_>,
        types: &aya::Btf,
        have: Capabilities,
        new: impl Fn(Ebpf, Array<MapData, u32>, Capabilities) -> Self,
    ) -> Result<Self, StartError> {
        let object = object::bytes(have.cast())?;
        let mut ebpf = loader.load(&object).map_err(|error| StartError::Load(Box::new(error)))?;
        let told = ebpf.take_map("TOLD").and_then(|map| Array::try_from(map).ok());
        let mut kernel = new(ebpf, told.ok_or(StartError::Map("TOLD"))?, have);
        let steps: Vec<_> = kernel.programs.iter().map(|planned| &planned.step).collect();
        let outcomes = load::load(&mut kernel.ebpf, &steps, types);
        for (index, outcome) in outcomes.into_iter().enumerate() {
            if let Err(error) = outcome {
                kernel.refuse(index, &error);
            }
        }
        Ok(kernel)
    }

    fn refused(&self) -> impl Iterator<Item = &Step> {
        self.programs.iter().filter(|planned| planned.stage == Stage::Refused).map(|planned| &planned.step)
    }

    /// Why a program was refused, if one was.
    fn refusal(&self) -> Option<String> {
        let refused = self.refused().next()?;
        let of_it = |gap: &&Gap| refused.serves(gap.tier);
        // Its own gaps are the newest.
        self.gaps.iter().rev().find(of_it).map(|gap| gap.reason.clone())
    }

    fn program(&mut self, name: &str) -> Result<&mut Program, ProgramError> {
        self.ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)
    }

    /// Takes each program that was not refused yet one stage further.
    fn each_loaded(
        &mut self,
        mut act: impl FnMut(&mut Self, &Step) -> Result<Stage, Box<dyn std::error::Error>>,
    ) {
        for index in 0..self.programs.len() {
            let Some(step) = self.programs.get(index).filter(|planned| planned.stage != Stage::Refused)
            else {
                continue;
            };
            let step = step.step.clone();
            match act(self, &step) {
                Ok(stage) => self.reached(index, stage),
                Err(error) => self.refuse(index, error.as_ref()),
            }
        }
    }

    fn reached(&mut self, index: usize, stage: Stage) {
        if let Some(planned) = self.programs.get_mut(index) {
            planned.stage = stage;
        }
    }

    fn refuse(&mut self, index: usize, error: &(dyn std::error::Error + 'static)) {
        self.reached(index, Stage::Refused);
        let Some(Planned { step, .. }) = self.programs.get(index) else { return };
        let reason = format!(
            "the kernel refuses {} ({}): {}",
            step.program,
            step.hook.label(),
            diagnostics::chain(error)
        );
        let remedy = "run `reuse-daemon doctor` and report what it prints";
        self.gaps.extend(step.tiers.iter().map(|tier| Gap { tier: *tier, reason: reason.clone(), remedy }));
    }

    /// Why the inventory's program was refused, if it was: nothing works without.
    fn refused_inventory(&self) -> Option<String> {
        let refused =
            |planned: &&Planned| planned.step.serves(Tier::Inventory) && planned.stage == Stage::Refused;
        self.programs.iter().find(refused)?;
        self.gaps.iter().find(|gap| gap.tier == Tier::Inventory).map(|gap| gap.reason.clone())
    }

    /// Opens the iterator over every process's descriptors.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn snapshot(&mut self) -> io::Result<Pending> {
        let Some(Program::Iter(program)) = self.ebpf.program_mut("snapshot") else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "no snapshot program"));
        };
        Ok(Pending {
            file: open(program).map_err(io::Error::other)?,
            decoder: self.decoder,
            scope: if self.all_processes { Scope::Host } else { Scope::Part },
        })
    }

    /// The kernel's number of this process is not its own: the iterator walks this pid namespace only
    /// (kernel/bpf/task_iter.c).
    fn confined(&mut self) {
        self.all_processes = false;
        self.gaps.push(Gap {
            tier: Tier::Inventory,
            reason: "this process is in a pid namespace of its own: sockets of processes outside it are known only \
                     from their binds, and processes are named by their comm"
                .to_owned(),
            remedy: "run it in the host's pid namespace (docker: --pid=host, Kubernetes: hostPID: true)",
        });
    }

    /// Whether procfs and the inventory iterator show every process of the host.
    #[must_use]
    pub fn sees_all_processes(&self) -> bool {
        self.all_processes
    }

    /// Decoder of this kernel's records.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        self.decoder
    }

    /// How this kernel decides binds.
    #[must_use]
    pub fn rules(&self) -> rulebook::Kernel {
        self.rules
    }

    /// Puts the hash-watching program on a group of the daemon's own.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach_to_own_group(&mut self, member: BorrowedFd<'_>) -> Result<(), ProgramError> {
        let program: &mut SkReuseport = self.program("own_group")?.try_into()?;
        program.attach(member)
    }

    /// The program for the daemon's own groups, to attach it to those that come later.
    ///
    /// # Errors
    /// It is not loaded, or there is no descriptor left.
    pub fn own_group_program(&mut self) -> Result<OwnedFd, ProgramError> {
        let program: &mut SkReuseport = self.program("own_group")?.try_into()?;
        Ok(program.fd()?.as_fd().try_clone_to_owned()?)
    }

    /// Whether a tier is active: it has a program, and each of its programs is attached.
    #[must_use]
    pub fn active(&self, tier: Tier) -> bool {
        let mut programs = self.programs.iter().filter(|planned| planned.step.serves(tier)).peekable();
        programs.peek().is_some() && programs.all(|planned| planned.stage == Stage::Attached)
    }

    /// Whether a program is at its hook.
    #[must_use]
    pub fn is_attached(&self, program: &str) -> bool {
        self.programs
            .iter()
            .any(|planned| planned.step.program == program && planned.stage == Stage::Attached)
    }

    /// What the kernel says of each program.
    pub fn stats(&self) -> impl Iterator<Item = (&Planned, ProgramStats)> {
        self.programs.iter().map(|planned| {
            let program = self.ebpf.program(planned.step.program);
            let fd = program.and_then(|program| program.fd().ok());
            (planned, fd.and_then(program_stats::read).unwrap_or_default())
        })
    }
}

pub(super) fn open(program: &mut Iter) -> Result<File, Box<dyn std::error::Error + Send + Sync>> {
    let id = program.attach()?;
    Ok(program.take_link(id)?.into_file()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_as_many_a_second_whatever_the_tick() {
        assert_eq!(looks_per_tick(Duration::from_millis(1)), 16);
        assert_eq!(looks_per_tick(Duration::from_millis(4)), 64);
        assert_eq!(looks_per_tick(Duration::from_millis(10)), 160);
        assert_eq!(looks_per_tick(Duration::from_nanos(1)), 1);
        assert_eq!(looks_per_tick(Duration::from_secs(1)), LOOKS_PER_TICK_MAX);
    }
}
