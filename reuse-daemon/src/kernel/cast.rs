//! Programs that read kernel memory by plain loads, on kernels that let them: see [`reuse_ebpf::cast`].

use reuse_ebpf::cast::{BYTES, CALL, FUNCTION, GUARD, STRUCTURE};

use super::{
    btf::Btf,
    trial::{self, BPF_PSEUDO_KFUNC_CALL},
};

/// `struct bpf_insn` (include/uapi/linux/bpf.h)
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`
const CALLS: u8 = 0x85;
/// The byte of its registers, where it calls a function of the kernel
const OF_KERNEL: u8 =
    if cfg!(target_endian = "little") { BPF_PSEUDO_KFUNC_CALL << 4 } else { BPF_PSEUDO_KFUNC_CALL };

/// Numbers among the kernel's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Cast {
    function: u32,
    structure: u32,
}

impl Cast {
    /// Finds them, and tries whether programs may cast and load.
    ///
    /// # Errors
    /// Why they may not, in words that a sentence may go on from.
    pub(super) fn find(btf: &Btf<'_>) -> Result<Self, String> {
        let function =
            btf.function_number(FUNCTION).ok_or_else(|| format!("this kernel has no {FUNCTION}"))?;
        if !btf.has_function(GUARD) {
            return Err(format!("this kernel's {FUNCTION} also leads to memory of processes"));
        }
        let structure = btf
            .structure_number(STRUCTURE)
            .ok_or_else(|| format!("this kernel has no struct {STRUCTURE}"))?;
        trial::load_by_cast(function, structure, BYTES)
            .map_err(|error| format!("the kernel refuses programs that read by {FUNCTION} ({error})"))?;
        Ok(Self { function, structure })
    }

    /// Number of the structure.
    pub(super) fn structure(self) -> u32 {
        self.structure
    }

    /// The object with each cast a call of the kernel's function.
    pub(super) fn put_into(self, object: &[u8]) -> Vec<u8> {
        let mut object = object.to_vec();
        // A section of instructions begins at a multiple of their size in the file.
        for instruction in object.as_chunks_mut::<INSTRUCTION>().0 {
            let [operation, registers, 0, 0, ref mut called @ ..] = *instruction else { continue };
            if operation == CALLS && registers == 0 && *called == CALL.to_ne_bytes() {
                *called = self.function.to_ne_bytes();
                instruction[1] = OF_KERNEL;
            }
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAST: Cast = Cast { function: 65_477, structure: 4_711 };

    fn instruction(operation: u8, registers: u8, offset: i16, immediate: u32) -> [u8; INSTRUCTION] {
        let mut bytes = [0; INSTRUCTION];
        bytes[0] = operation;
        bytes[1] = registers;
        bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&immediate.to_ne_bytes());
        bytes
    }

    #[test]
    fn calls_of_no_helper_become_calls_of_the_function_and_nothing_else_changes() {
        let move_to_1 = instruction(0xb7, 1, 0, CALL);
        let helper = instruction(CALLS, 0, 0, 113);
        let subprogram = instruction(CALLS, 0x10, 0, CALL);
        let exit = instruction(0x95, 0, 0, 0);
        let called = |call| [move_to_1, helper, call, subprogram, call, exit].concat();
        let before = called(instruction(CALLS, 0, 0, CALL));
        let after = called(instruction(CALLS, OF_KERNEL, 0, CAST.function));
        assert_eq!(CAST.put_into(&before), after);
        // An object may end with what is no whole instruction.
        assert_eq!(
            CAST.put_into(&[before.as_slice(), &[1, 2, 3]].concat()),
            [after.as_slice(), &[1, 2, 3]].concat()
        );
    }
}
