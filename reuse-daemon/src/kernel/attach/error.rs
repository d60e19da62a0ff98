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

const UNLOCK: &str =
    "boot with lockdown=integrity or without lockdown= (where Secure Boot locks it down, switch that off)";
const WITH_TYPES: &str =
    "boot a kernel built with CONFIG_DEBUG_INFO_BTF, or mount sysfs at /sys if it is not";
const MEMORY_LIMIT: &str = "on kernels before 5.11 raise the locked-memory limit (ulimit -l)";
const BUILD_AGAIN: &str = "build again";

/// Why the kernel side could not be started. What is in a sentence is no cause of its own: it would be said twice.
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
        "the kernel is locked down for confidentiality: no program may read its memory, and nothing can be traced; \
         {UNLOCK}"
    )]
    LockedDown,
    /// The kernel takes no typed program
    #[error(
        "the kernel has no type information of its own ({} is absent) and so takes no typed program, whatever file is \
         named with --btf.path ({reason}): {WITH_TYPES}",
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
        "the kernel refused the programs' maps: {}; {MEMORY_LIMIT}", diagnostics::chain(.0.as_ref())
    )]
    Load(Box<aya::EbpfError>),
    /// A program was refused that nothing stands in for
    #[error("the kernel refuses the program {program}: {}", diagnostics::chain(.error.as_ref()))]
    Program {
        /// Its name
        program: &'static str,
        /// In the kernel's words
        error: Box<ProgramError>,
    },
    /// A map is not in the object
    #[error("the eBPF object has no usable map {0}: it does not belong to this binary, {BUILD_AGAIN}")]
    Map(&'static str),
    /// The ring cannot be watched
    #[error("cannot watch the event ring: {0}")]
    Ring(io::Error),
    /// The inventory cannot be read
    #[error("cannot read the sockets that are there: {0}")]
    Inventory(io::Error),
}

impl StartError {
    /// What was found, and what to do about it.
    #[must_use]
    pub fn in_parts(&self) -> (String, &'static str) {
        let (mut found, remedy) = (self.to_string(), self.remedy());
        if let Some(before) = found.strip_suffix(remedy) {
            let end = before.trim_end_matches([' ', ',', ';', ':']).len();
            found.truncate(end);
        }
        (found, remedy)
    }

    /// The end of the sentence, where it says what to do.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Stub(_) => Stub::REMEDY,
            Self::Btf(error) => error.remedy(),
            Self::LockedDown => UNLOCK,
            Self::NoTypes { .. } => WITH_TYPES,
            Self::Lacking(lack) => lack.remedy,
            Self::Load(_) => MEMORY_LIMIT,
            Self::Map(_) => BUILD_AGAIN,
            Self::Layout(_)
            | Self::Refused(_)
            | Self::Program { .. }
            | Self::Ring(_)
            | Self::Inventory(_) => "please report it, with the kernel's release",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_told_apart_from_what_was_found() {
        let (found, remedy) = StartError::Btf(BtfError::Foreign { path: "/file".into() }).in_parts();
        assert!(found.ends_with(&format!("those at {}", btf::OWN)), "{found}");
        assert_eq!(remedy, "leave out --btf.path");
        for error in [
            StartError::Stub(Stub),
            StartError::LockedDown,
            StartError::NoTypes { reason: "refused".to_owned() },
            StartError::Lacking(Lack { why: "no iterator".to_owned(), remedy: "another kernel" }),
            StartError::Map("EVENTS"),
        ] {
            assert!(error.to_string().ends_with(error.remedy()), "{error}");
            let (found, remedy) = error.in_parts();
            assert!(!found.contains(remedy) && !found.ends_with([' ', ';', ':', ',']), "{found}");
        }
    }
}
