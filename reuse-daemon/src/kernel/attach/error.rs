//! Why the kernel side could not be started.

use std::io;

use aya::programs::ProgramError;
use thiserror::Error;

use crate::kernel::{
    btf::{self, BtfError},
    capabilities::Lack,
    diagnostics,
    layout::LayoutError,
    object::Stub,
};

/// Why the kernel side could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// No programs in this binary
    #[error(transparent)]
    Stub(#[from] Stub),
    /// No BTF
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A member is missing
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Nothing may read kernel memory
    #[error(
        "the kernel is locked down for confidentiality: no program may read its memory, and nothing can be traced; boot \
         with lockdown=integrity or without lockdown= (where Secure Boot locks it down, switch that off)"
    )]
    LockedDown,
    /// The kernel takes no typed program
    #[error(
        "the kernel has no type information of its own ({} is absent) and so takes no typed program, whatever file is \
         named with --btf.path: boot a kernel built with CONFIG_DEBUG_INFO_BTF, or mount sysfs at /sys if it is not \
         ({reason})",
        btf::OWN
    )]
    NoTypes {
        /// In the kernel's words
        reason: String,
    },
    /// What nothing works without is not there
    #[error("{}: nothing can be traced; {}", .0.why, .0.remedy)]
    Lacking(Lack),
    /// The kernel refuses what nothing works without
    #[error("{0}")]
    Refused(String),
    /// The object was refused as a whole
    #[error(
        "the kernel refused the programs' maps: {0}; on kernels before 5.11 raise the locked-memory limit (ulimit -l)"
    )]
    Load(#[source] Box<aya::EbpfError>),
    /// A program was refused that nothing stands in for
    #[error("the kernel refuses the program {program}: {}", diagnostics::chain(.error.as_ref()))]
    Program {
        /// Its name
        program: &'static str,
        /// In the kernel's words
        error: Box<ProgramError>,
    },
    /// A map is not in the object
    #[error("the eBPF object has no usable map {0}: it does not belong to this binary, build again")]
    Map(&'static str),
    /// The ring cannot be watched
    #[error("cannot watch the event ring: {0}")]
    Ring(#[source] io::Error),
    /// The inventory cannot be read
    #[error("cannot read the sockets that are there: {0}")]
    Inventory(#[source] io::Error),
}
