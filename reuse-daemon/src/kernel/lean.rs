//! Loading without a daemon: the object with its maps as small as they go, and of the kernel's types only what is needed.
//!
//! Somebody waits at a terminal; what takes longest is done side by side.

use std::{panic, path::Path, thread};

use aya::Ebpf;
use reuse_ebpf::offsets::Concern;
use reuse_model::rulebook::Kernel;

use super::{
    attach::StartError,
    btf::{Btf, BtfError, Types},
    capabilities::LOOPING,
    decode::Decoder,
    layout::{ProgramLayout, SocketLayout},
    loader,
    loader_types::{self, Anchor},
    object,
    owners::ITERATOR,
    rules, sys,
};

/// Room for the longest record and its header.
const RING_BYTES: u32 = 64 << 10;

/// The object, with none of its programs loaded yet.
pub(super) struct Lean {
    pub(super) ebpf: Ebpf,
    pub(super) decoder: Decoder,
    /// How this kernel decides binds
    pub(super) rules: Kernel,
    /// Which members it has
    pub(super) layout: ProgramLayout,
    /// For the iterators over files
    pub(super) iterator: aya::Btf,
}

impl Lean {
    /// Reads the kernel's types, from the file at `btf` if one is named, and makes the maps.
    ///
    /// # Errors
    /// No privileges, no BTF, or a kernel that refuses.
    pub(super) fn load(btf: Option<&Path>) -> Result<Self, StartError> {
        let object = object::lean()?;
        // Making a loader takes a thread of its own.
        let (loader, types) = thread::scope(|scope| {
            let loader = scope.spawn(loader::new);
            let types = KernelTypes::read(btf);
            (loader.join(), types)
        });
        let mut loader = loader.unwrap_or_else(|panic| panic::resume_unwind(panic));
        let KernelTypes { layout, left_out, decoder, rules, iterator } = types?;
        let ebpf = loader
            .btf(Some(&iterator))
            .override_global("OFFSETS", &layout.offsets(&left_out), true)
            .override_global(aya_log::LEVEL, &0_u8, true)
            .map_max_entries("RING", RING_BYTES)
            .map_max_entries("SELECTIONS", 1)
            .map_max_entries("WATCHED", 1)
            .map_max_entries("PROBES", 1)
            .map_max_entries("FLOWS", 1)
            .map_max_entries("WINDOWS", 1)
            .map_max_entries("CLOSERS", 1)
            .load(object)
            .map_err(|error| StartError::Load(Box::new(error)))?;
        Ok(Self { ebpf, decoder, rules, layout, iterator })
    }
}

/// What the kernel's types say.
struct KernelTypes {
    layout: ProgramLayout,
    /// What its programs cannot do
    left_out: Vec<Concern>,
    decoder: Decoder,
    rules: Kernel,
    iterator: aya::Btf,
}

impl KernelTypes {
    fn read(named: Option<&Path>) -> Result<Self, StartError> {
        let Types { path, bytes } = Types::find(named)?;
        let malformed = |reason| BtfError::Malformed { path: path.clone(), reason };
        let kernel = Btf::parse(&bytes).map_err(malformed)?;
        let iterator = loader_types::of(&kernel, [Anchor::iterator(ITERATOR)]);
        let loops = kernel.enumerator("BPF_FUNC_loop").is_some();
        Ok(Self {
            left_out: if loops { Vec::new() } else { LOOPING.to_vec() },
            layout: ProgramLayout::from_btf(&kernel)?,
            decoder: Decoder::new(SocketLayout::from_btf(&kernel)?, sys::tick()),
            rules: rules::of_running_kernel(&kernel),
            iterator: iterator.ok_or_else(|| malformed("it has no iterator over files"))?,
        })
    }
}
