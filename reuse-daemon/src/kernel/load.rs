//! Loading the planned programs, side by side: the verifier takes tens of milliseconds for the larger ones, in the thread
//! that asks, and checks several at once for those who may load any (kernel/bpf/verifier.c, `bpf_check`).

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};

use super::plan::{Hook, Step};

/// More would wait for each other's memory.
const THREADS_MAX: usize = 4;

/// Loads the program of each step; what came of each, in order.
pub(super) fn load(ebpf: &mut Ebpf, steps: &[&Step], types: &Btf) -> Vec<Result<(), ProgramError>> {
    let mut programs: HashMap<_, _> = ebpf.programs_mut().collect();
    // The last are taken first; the largest programs stand towards the end of a plan.
    let waiting: Vec<_> =
        steps.iter().map(|step| (*step, programs.remove(step.program))).enumerate().collect();
    let waiting = Mutex::new(waiting);
    let outcomes = Mutex::new(Vec::with_capacity(steps.len()));
    let work = || {
        while let Some((index, (step, program))) = locked(&waiting).pop() {
            let outcome = program.map_or(Err(ProgramError::UnexpectedProgramType), |program| {
                load_one(program, &step.hook, types)
            });
            locked(&outcomes).push((index, outcome));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A thread that panicked leaves what it had locked whole.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load_one(program: &mut Program, hook: &Hook, types: &Btf) -> Result<(), ProgramError> {
    match (program, hook) {
        (Program::TracePoint(program), _) => program.load(),
        (Program::BtfTracePoint(program), Hook::BtfTracepoint(name)) => program.load(name, types),
        (Program::FEntry(program), Hook::FunctionEntry(name)) => program.load(name, types),
        (Program::FExit(program), Hook::FunctionExit(name)) => program.load(name, types),
        (Program::KProbe(program), Hook::FunctionProbe(_)) => program.load(),
        (Program::CgroupSock(program), _) => program.load(),
        (Program::CgroupSockAddr(program), _) => program.load(),
        (Program::Iter(program), Hook::Iterator(kind)) => program.load(kind, types),
        (Program::SkReuseport(program), _) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}
