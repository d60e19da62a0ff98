//! What the loader must know of the kernel's types: the number of each type that a program is attached by.
//!
//! The loader takes those numbers from a whole parsed BTF file, which costs more than all else that a short command does,
//! and as much memory as the daemon has otherwise. It is given a file of its own making instead, in which those types have
//! their numbers and all others are placeholders.

use aya_obj::btf::{BtfType, Func, FuncLinkage};

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
    types(numbered.collect())
}

/// Types of which each has its number, which is at least 1.
///
/// The loader takes a prototype only from a file. A function it takes as it is, with a placeholder at a tenth of what
/// reading one costs; most functions have greater numbers than all prototypes.
fn types(mut anchors: Vec<(u32, Anchor)>) -> Option<aya::Btf> {
    anchors.sort_by_key(|(number, _)| *number);
    anchors.dedup_by_key(|(number, _)| *number);
    let last = anchors.iter().rposition(|(_, anchor)| matches!(anchor, Anchor::Tracepoint(_)));
    let (read, added) = anchors.split_at(last.map_or(0, |last| last + 1));
    let mut types = aya::Btf::parse(&file(read), aya::Endianness::default()).ok()?;
    let mut next = read.last().map_or(1, |(number, _)| number + 1);
    for (number, anchor) in added {
        for _ in next..*number {
            types.add_type(BtfType::Unknown);
        }
        let name = types.add_string(&anchor.type_name());
        types.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Global)));
        next = number + 1;
    }
    Some(types)
}

/// A BTF file in which each of the types has its number; they are in its order.
fn file(anchors: &[(u32, Anchor)]) -> Vec<u8> {
    let mut strings = vec![0];
    let mut types: Vec<[u32; 3]> = Vec::new();
    for (number, anchor) in anchors {
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
    use aya_obj::btf::BtfKind;

    use super::*;

    const FIRST: u32 = 100;

    fn function(name: &str) -> Anchor {
        Anchor::Function(name.to_owned())
    }

    fn tracepoint(name: &str) -> Anchor {
        Anchor::Tracepoint(name.to_owned())
    }

    #[test]
    fn every_type_keeps_its_number() {
        for first in [1, 2, 100_000] {
            let anchors = vec![
                (first + 9, function("two")),
                (first + 7, tracepoint("sk_data_ready")),
                (first, function("one")),
                (first + 10, function("three")),
                (first, function("one")),
            ];
            let types = types(anchors).expect("valid");
            for (name, kind, number) in [
                ("one", BtfKind::Func, first),
                ("btf_trace_sk_data_ready", BtfKind::Typedef, first + 7),
                ("two", BtfKind::Func, first + 9),
                ("three", BtfKind::Func, first + 10),
            ] {
                assert_eq!(types.id_by_type_name_kind(name, kind).ok(), Some(number), "{name}");
            }
        }
    }

    #[test]
    fn the_kernels_numbers_are_taken_and_what_it_has_not_is_left_out() {
        let bytes = file(&[(FIRST, tracepoint("sk_data_ready")), (FIRST + 1, function("one"))]);
        let kernel = Btf::parse(&bytes).expect("valid");
        let types =
            of(&kernel, [function("one"), function("none"), tracepoint("sk_data_ready")]).expect("valid");
        assert_eq!(types.id_by_type_name_kind("one", BtfKind::Func).ok(), Some(FIRST + 1));
        assert_eq!(types.id_by_type_name_kind("btf_trace_sk_data_ready", BtfKind::Typedef).ok(), Some(FIRST));
        assert!(types.id_by_type_name_kind("none", BtfKind::Func).is_err());
    }

    #[test]
    fn no_type_is_a_file_too() {
        assert!(types(Vec::new()).is_some());
    }
}
