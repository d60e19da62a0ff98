//! How the programs read kernel memory without a helper: any address is cast to a structure of words, which the verifier lets
//! them load from, and a load that faults gives zero.
//!
//! The cast is a function of the kernel (`bpf_rdonly_cast`, since 6.2), whose call becomes a move between registers. The compiler
//! cannot name it: it is called by a number that no helper has, and the daemon puts the kernel's own there.

/// What the programs call: no helper of any kernel.
pub const CALL: u32 = 0x7ca5_7ca5;

/// The function.
pub const FUNCTION: &str = "bpf_rdonly_cast";

/// A function that kernels have in which such a load reaches no address of a process (arch/x86/net/bpf_jit_comp.c of 6.9 and its
/// like): before, one was read as if it were the kernel's.
pub const GUARD: &str = "bpf_arch_uaddress_limit";

/// A structure that begins with an array of words, in every kernel with IPv4 (include/net/snmp.h).
pub const STRUCTURE: &str = "linux_mib";

/// Bytes from its beginning that are read at most.
pub const BYTES: u32 = 128;
