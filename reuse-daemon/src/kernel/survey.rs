//! One look at every socket of the host, without a daemon: the snapshot program alone, loaded, read once and gone.

use std::{io, path::Path};

use aya::{
    maps::{Array, MapData},
    programs::{Iter, ProgramError},
};
use reuse_model::event::{Scope, Snapshot};

use super::{
    attach::{self, StartError},
    lean::Lean,
    owners::ITERATOR,
    snapshot::Pending,
};

/// The program's name in the object.
const PROGRAM: &str = "snapshot";

/// Every socket that holds a port, as the kernel shows it now. `btf`: the file of the kernel's types,
/// where one is named.
///
/// # Errors
/// No privileges, no BTF, or a kernel that refuses.
pub fn survey(btf: Option<&Path>) -> Result<Snapshot, StartError> {
    let Lean { mut ebpf, decoder, iterator, .. } = Lean::load(btf)?;
    let refused = |error: ProgramError| StartError::Program { program: PROGRAM, error: Box::new(error) };
    let program = ebpf.program_mut(PROGRAM).ok_or(StartError::Map(PROGRAM))?;
    let program: &mut Iter = program.try_into().map_err(refused)?;
    program.load(ITERATOR, &iterator).map_err(refused)?;
    let file = attach::open(program).map_err(|error| StartError::Inventory(io::Error::other(error)))?;
    let snapshot = Pending { file, decoder, scope: Scope::Host }.read().map_err(StartError::Inventory)?;
    let own: Array<MapData, u32> =
        ebpf.take_map("OWN").and_then(|map| map.try_into().ok()).ok_or(StartError::Map("OWN"))?;
    let own_pid = own.get(&0, 0).map_err(|_| StartError::Map("OWN"))?;
    // In a pid namespace of its own the iterator walks that one only (kernel/bpf/task_iter.c).
    let scope = if own_pid == std::process::id() { Scope::Host } else { Scope::Part };
    Ok(Snapshot { scope, ..snapshot })
}
