//! What the loader must know of the kernel's types to load an iterator: the number of one function.
//!
//! The loader takes that number from a whole parsed BTF file, which costs more than all else that a short command does.
//! It is given a file of its own making instead, in which that function has its number and everything before it is a
//! placeholder.

use super::btf::Btf;

/// include/uapi/linux/btf.h: `BTF_MAGIC`, `BTF_VERSION`, the size of `struct btf_header` and two kinds of types
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER_LENGTH: u32 = 24;
const KIND_FWD: u32 = 7;
const KIND_FUNC: u32 = 12;

/// Types for the iterator over `kind` (`task_file`), `None` where this kernel has no such iterator.
pub(super) fn for_iterator(kernel: &Btf<'_>, kind: &str) -> Option<aya::Btf> {
    let name = format!("bpf_iter_{kind}");
    let number = kernel.function_number(&name)?;
    aya::Btf::parse(&file(number, &name), aya::Endianness::default()).ok()
}

/// A BTF file in which the function `name` is type `number`, which is at least 1.
fn file(number: u32, name: &str) -> Vec<u8> {
    let placeholder = [0, KIND_FWD << 24, 0];
    let function = [1, KIND_FUNC << 24, 0];
    let strings = [b"\0", name.as_bytes(), b"\0"].concat();
    let types_length = number * size_of_val(&function) as u32;
    let mut bytes = Vec::with_capacity(HEADER_LENGTH as usize + types_length as usize + strings.len());
    bytes.extend(MAGIC.to_ne_bytes());
    bytes.extend([VERSION, 0]);
    // Where each section begins after the header, and its length: types, then strings.
    for word in [HEADER_LENGTH, 0, types_length, types_length, strings.len() as u32] {
        bytes.extend(word.to_ne_bytes());
    }
    for word in (1..number).flat_map(|_| placeholder).chain(function) {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(strings);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_keeps_its_number() {
        for number in [1, 2, 100_000] {
            let bytes = file(number, "bpf_iter_task_file");
            let parsed = Btf::parse(&bytes).expect("valid");
            assert_eq!(parsed.function_number("bpf_iter_task_file"), Some(number));
            assert!(aya::Btf::parse(&bytes, aya::Endianness::default()).is_ok(), "{number}");
        }
    }
}
