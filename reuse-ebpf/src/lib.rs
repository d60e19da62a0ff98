//! The ABI between the eBPF programs (this package's binary) and the daemon.
//!
//! Integers and byte arrays only, no padding the compiler could add silently: each type's size is asserted where it is
//! declared. Kernel structures cross as raw bytes; the daemon decodes them with the offsets it read from BTF.
#![cfg_attr(target_arch = "bpf", no_std)]

pub mod cast;
pub mod count;
pub mod flow;
pub mod group;
pub mod hooks;
pub mod offsets;
pub mod record;
pub mod touch;
