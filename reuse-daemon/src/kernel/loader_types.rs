//! What the loader must know of the kernel's types: the number of each type that a program is attached by.
//!
//! The loader takes those numbers from a whole parsed BTF file, which costs more than all else that a short command does,
//! and as much memory as the daemon has otherwise. It is given a file of its own making instead, in which those types have
//! their numbers and all others are placeholders.

use super::btf::Btf;

/// include/uapi/linux/btf.h: `BTF_MAGIC`, `BTF_VERSION`, the size of `struct btf_header` and three kinds of types
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER_LENGTH: u32 = 24;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;

/// A type that a program is attached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The function of that name
    Function(String),
    /// The prototype of the tracepoint of that name
    Tracepoint(String),
}

impl Anchor {
    /// Of an iterator over `kind` (`task_file`)
    pub(super) fn iterator(kind: &str) -> Self {
        Self::Function(format!("bpf_iter_{kind}"))
    }

    fn number(&self, kernel: &Btf<'_>) -> Option<u32> {
        match self {
            Self::Function(name) => kernel.function_number(name),
            Self::Tracepoint(name) => kernel.tracepoint_number(name),
        }
    }

    fn kind(&self) -> u32 {
        match self {
            Self::Function(_) => KIND_FUNC,
            Self::Tracepoint(_) => KIND_TYPEDEF,
        }
    }

    fn type_name(&self) -> String {
        match self {
            Self::Function(name) => name.clone(),
            Self::Tracepoint(name) => format!("btf_trace_{name}"),
        }
    }
}

/// The kernel's types with those among `anchors` that it has, for the loader.
pub(super) fn of(kernel: &Btf<'_>, anchors: impl IntoIterator<Item = Anchor>) -> Option<aya::Btf> {
    let numbered = anchors.into_iter().filter_map(|anchor| Some((anchor.number(kernel)?, anchor)));
    aya::Btf::parse(&file(numbered.collect()), aya::Endianness::default()).ok()
}

/// A BTF file in which each of the types has its number, which is at least 1.
fn file(mut anchors: Vec<(u32, Anchor)>) -> Vec<u8> {
    anchors.sort_by_key(|(number, _)| *number);
    anchors.dedup_by_key(|(number, _)| *number);
    let mut strings = vec![0];
    let mut types: Vec<[u32; 3]> = Vec::new();
    for (number, anchor) in &anchors {
        types.resize((*number as usize).saturating_sub(1), [0, KIND_FWD << 24, 0]);
        types.push([strings.len() as u32, anchor.kind() << 24, 0]);
        strings.extend(anchor.type_name().into_bytes());
        strings.push(0);
    }
    let types_length = size_of_val(types.as_slice()) as u32;
    let mut bytes = Vec::with_capacity(HEADER_LENGTH as usize + types_length as usize + strings.len());
    bytes.extend(MAGIC.to_ne_bytes());
    bytes.extend([VERSION, 0]);
    // Where each section begins after the header, and its length: types, then strings.
    for word in [HEADER_LENGTH, 0, types_length, types_length, strings.len() as u32] {
        bytes.extend(word.to_ne_bytes());
    }
    for word in types.as_flattened() {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(strings);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_keeps_its_number() {
        let function = |name: &str| Anchor::Function(name.to_owned());
        for number in [1, 2, 100_000] {
            let anchors =
                vec![(number + 7, Anchor::Tracepoint("sk_data_ready".to_owned())), (number, function("one"))];
            let bytes = file([anchors, vec![(number, function("one"))]].concat());
            let parsed = Btf::parse(&bytes).expect("valid");
            assert_eq!(parsed.function_number("one"), Some(number));
            assert_eq!(parsed.tracepoint_number("sk_data_ready"), Some(number + 7));
            assert!(of(&parsed, [function("one"), function("none")]).is_some());
        }
    }

    #[test]
    fn no_type_is_a_file_too() {
        assert!(aya::Btf::parse(&file(Vec::new()), aya::Endianness::default()).is_ok());
    }
}
