//! One look at every socket of the host, without a daemon: the snapshot program alone, loaded, read once and gone.

use std::path::Path;

use aya::{
    EbpfLoader,
    maps::{Array, MapData},
    programs::{Iter, ProgramError},
};
use reuse_model::event::Snapshot;

use super::{
    attach::{self, StartError},
    btf::{self, Btf, BtfError},
    decode::Decoder,
    layout::{self, SocketLayout},
    object,
    snapshot::Pending,
    sys,
};

/// The program's name in the object.
const PROGRAM: &str = "snapshot";
/// Least size of a ring the program does not use: a page of any architecture.
const RING_BYTES: u32 = 64 << 10;

/// Every socket that holds a port, as the kernel shows it now. `btf`: the file of the kernel's types.
///
/// # Errors
/// No privileges, no BTF, or a kernel that refuses.
pub fn survey(btf: &Path) -> Result<Snapshot, StartError> {
    let object = object::bytes()?;
    let bytes = btf::read_file(btf)?;
    let malformed = |reason| BtfError::Malformed { path: btf.to_owned(), reason };
    let parsed = Btf::parse(&bytes).map_err(malformed)?;
    let offsets = layout::program_offsets(&parsed)?;
    let decoder = Decoder::new(SocketLayout::from_btf(&parsed)?, sys::tick());
    let types = aya::Btf::parse(&bytes, aya::Endianness::default())
        .map_err(|_| malformed("refused by the loader"))?;
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&types))
        .override_global("OFFSETS", &offsets, true)
        .override_global(aya_log::LEVEL, &0_u8, true)
        .map_max_entries("RING", RING_BYTES)
        .map_max_entries("SELECTIONS", 1)
        .map_max_entries("PROBES", 1)
        .load(object)
        .map_err(|error| StartError::Load(Box::new(error)))?;
    let refused = |error: ProgramError| StartError::Program { program: PROGRAM, error: Box::new(error) };
    let program = ebpf.program_mut(PROGRAM).ok_or(StartError::Map(PROGRAM))?;
    let program: &mut Iter = program.try_into().map_err(refused)?;
    program.load("task_file", &types).map_err(refused)?;
    let file = attach::open(program).map_err(|error| StartError::Inventory(std::io::Error::other(error)))?;
    let snapshot = Pending { file, decoder, whole: true }.read().map_err(StartError::Inventory)?;
    let own: Array<MapData, u32> =
        ebpf.take_map("OWN").and_then(|map| map.try_into().ok()).ok_or(StartError::Map("OWN"))?;
    let own_pid = own.get(&0, 0).map_err(|_| StartError::Map("OWN"))?;
    // In a pid namespace of its own the iterator walks that one only (kernel/bpf/task_iter.c).
    Ok(Snapshot { whole: own_pid == std::process::id(), ..snapshot })
}
