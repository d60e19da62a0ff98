//! One look at every socket of the host, without a daemon: the snapshot program alone, loaded, read once and gone.

use std::{io, path::Path, thread};

use aya::{
    EbpfLoader,
    maps::{Array, MapData},
    programs::{Iter, ProgramError},
};
use reuse_ebpf::offsets::Offsets;
use reuse_model::event::Snapshot;

use super::{
    attach::{self, StartError},
    btf::{self, Btf, BtfError},
    decode::Decoder,
    iterator_types,
    layout::{self, SocketLayout},
    object,
    snapshot::Pending,
    sys,
};

/// The program's name in the object.
const PROGRAM: &str = "snapshot";
/// What it iterates over.
const ITERATOR: &str = "task_file";
/// Least size of a ring, which the program does not use: a page of any architecture.
const RING_BYTES: u32 = 64 << 10;

/// Every socket that holds a port, as the kernel shows it now. `btf`: the file of the kernel's types.
///
/// # Errors
/// No privileges, no BTF, or a kernel that refuses.
pub fn survey(btf: &Path) -> Result<Snapshot, StartError> {
    let object = object::bytes()?;
    // A new loader reads all of the kernel's types, whether they are needed or not; they are read for us meanwhile.
    let (loader, types) = thread::scope(|scope| {
        let loader = scope.spawn(EbpfLoader::new);
        let types = Types::read(btf);
        (loader.join(), types)
    });
    let mut loader = loader.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let Types { offsets, decoder, iterator } = types?;
    let mut ebpf = loader
        .btf(Some(&iterator))
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
    program.load(ITERATOR, &iterator).map_err(refused)?;
    let file = attach::open(program).map_err(|error| StartError::Inventory(io::Error::other(error)))?;
    let snapshot = Pending { file, decoder, whole: true }.read().map_err(StartError::Inventory)?;
    let own: Array<MapData, u32> =
        ebpf.take_map("OWN").and_then(|map| map.try_into().ok()).ok_or(StartError::Map("OWN"))?;
    let own_pid = own.get(&0, 0).map_err(|_| StartError::Map("OWN"))?;
    // In a pid namespace of its own the iterator walks that one only (kernel/bpf/task_iter.c).
    Ok(Snapshot { whole: own_pid == std::process::id(), ..snapshot })
}

/// What the kernel's types say.
struct Types {
    offsets: Offsets,
    decoder: Decoder,
    iterator: aya::Btf,
}

impl Types {
    fn read(path: &Path) -> Result<Self, StartError> {
        let malformed = |reason| BtfError::Malformed { path: path.to_owned(), reason };
        let bytes = btf::read_file(path)?;
        let kernel = Btf::parse(&bytes).map_err(malformed)?;
        let iterator = iterator_types::for_iterator(&kernel, ITERATOR);
        Ok(Self {
            offsets: layout::program_offsets(&kernel)?,
            decoder: Decoder::new(SocketLayout::from_btf(&kernel)?, sys::tick()),
            iterator: iterator.ok_or_else(|| malformed("it has no iterator over files"))?,
        })
    }
}
