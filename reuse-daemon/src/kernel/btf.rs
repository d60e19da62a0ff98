//! The kernel's own description of its structures: where a member is, what a constant is worth, what exists.
//!
//! A small reader of the BTF format (include/uapi/linux/btf.h, Documentation/bpf/btf.rst): aya keeps members private.
//! It borrows the file's bytes, indexes the types once and is dropped after start.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Where kernels put their BTF.
pub const DEFAULT_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Why BTF could not be used.
#[derive(Debug, Error)]
pub enum BtfError {
    /// No file
    #[error(
        "cannot read the kernel's type information {}: {source}; this kernel was built without \
         CONFIG_DEBUG_INFO_BTF, or it lies elsewhere: name it with --btf.path", path.display()
    )]
    Unreadable {
        /// The file
        path: PathBuf,
        /// Why
        source: std::io::Error,
    },
    /// Not BTF
    #[error("{} is not valid BTF ({reason}); name the kernel's own with --btf.path", path.display())]
    Malformed {
        /// The file
        path: PathBuf,
        /// What is wrong
        reason: &'static str,
    },
}

/// Reads a BTF file.
///
/// # Errors
/// [`BtfError::Unreadable`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, BtfError> {
    fs::read(path).map_err(|source| BtfError::Unreadable { path: path.to_owned(), source })
}

const HEADER_MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;
const KNOWN_KINDS: std::ops::RangeInclusive<u32> = 1..=KIND_ENUM64;

/// A parsed BTF file.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Position of each type in `types`; type id 1 comes first
    positions: Vec<u32>,
    /// Structures by name. Functions are many times as many and are asked for a handful of times: those are searched
    structures: HashMap<&'a [u8], u32>,
}

/// One member of a structure: offset in bits and type.
struct Found {
    bits: u32,
    type_id: u32,
}

impl<'a> Btf<'a> {
    /// Indexes a file's bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let magic = u16::from_ne_bytes(array(bytes, 0).ok_or("too short")?);
        if magic != HEADER_MAGIC {
            return Err("wrong magic number or foreign byte order");
        }
        let header = word(bytes, 4).ok_or("too short")?;
        let section = |offset_at: usize, length_at: usize| {
            let start = header.checked_add(word(bytes, offset_at)?)? as usize;
            let length = word(bytes, length_at)? as usize;
            bytes.get(start..start.checked_add(length)?)
        };
        let types = section(8, 12).ok_or("type section out of bounds")?;
        let strings = section(16, 20).ok_or("string section out of bounds")?;
        let mut btf = Self { types, strings, positions: Vec::new(), structures: HashMap::new() };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), &'static str> {
        let mut at = 0;
        while at < self.types.len() {
            let position = u32::try_from(at).map_err(|_| "type section too long")?;
            let info = word(self.types, at + 4).ok_or("truncated type")?;
            let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            if !KNOWN_KINDS.contains(&kind) {
                return Err("unknown kind of type");
            }
            let id = u32::try_from(self.positions.len() + 1).map_err(|_| "too many types")?;
            if kind == KIND_STRUCT {
                let name = self.name_at(at).ok_or("name out of bounds")?;
                if !name.is_empty() {
                    self.structures.entry(name).or_insert(id);
                }
            }
            self.positions.push(position);
            at += 12 + trailer(kind, members);
        }
        Ok(())
    }

    fn name_at(&self, position: usize) -> Option<&'a [u8]> {
        self.string(word(self.types, position)?)
    }

    /// Whether the type there has this name; cheaper than reading the name where most have another.
    fn is_named(&self, position: usize, name: &[u8]) -> bool {
        let rest = word(self.types, position).and_then(|offset| self.strings.get(offset as usize..));
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.first() == Some(&0))
    }

    fn string(&self, offset: u32) -> Option<&'a [u8]> {
        let rest = self.strings.get(offset as usize..)?;
        rest.split(|byte| *byte == 0).next()
    }

    /// Kind, number of members or elements, flag of the kind, position
    fn type_at(&self, id: u32) -> Option<(u32, usize, bool, usize)> {
        let position = *self.positions.get((id as usize).checked_sub(1)?)? as usize;
        let info = word(self.types, position + 4)?;
        Some((info >> 24 & 0x1f, (info & 0xffff) as usize, info >> 31 == 1, position))
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        const DEEPEST: usize = 32;
        for _ in 0..DEEPEST {
            let (kind, _, _, position) = self.type_at(id)?;
            match kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = word(self.types, position + 8)?;
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Offset in bits of the member at `path` (`struct.member[.member..]`); unnamed members are looked through.
    #[must_use]
    pub fn member_bits(&self, path: &str) -> Option<u32> {
        let mut parts = path.split('.');
        let name = parts.next()?.as_bytes();
        let mut id = *self.structures.get(name)?;
        let mut bits = 0;
        for part in parts {
            let found = self.find(id, part.as_bytes(), 0)?;
            bits += found.bits;
            id = self.resolve(found.type_id)?;
        }
        Some(bits)
    }

    /// Size in bytes of the structure of that name.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u32> {
        let id = *self.structures.get(name.as_bytes())?;
        let (_, _, _, position) = self.type_at(id)?;
        word(self.types, position + 8)
    }

    fn find(&self, id: u32, name: &[u8], depth: usize) -> Option<Found> {
        const DEEPEST: usize = 8;
        let (kind, members, bitfields, position) = self.type_at(id)?;
        if depth > DEEPEST || !matches!(kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..members).find_map(|index| {
            let at = position + 12 + 12 * index;
            let member = self.string(word(self.types, at)?)?;
            let type_id = word(self.types, at + 4)?;
            let offset = word(self.types, at + 8)?;
            // With the kind flag the upper byte is the width of a bit-field.
            let bits = if bitfields { offset & 0x00ff_ffff } else { offset };
            if member == name {
                return Some(Found { bits, type_id });
            }
            if !member.is_empty() {
                return None;
            }
            let inner = self.find(self.resolve(type_id)?, name, depth + 1)?;
            Some(Found { bits: bits + inner.bits, type_id: inner.type_id })
        })
    }

    /// Value of an enumerator, whatever enumeration it belongs to.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        self.positions.iter().find_map(|position| {
            let position = *position as usize;
            let info = word(self.types, position + 4)?;
            if info >> 24 & 0x1f != KIND_ENUM {
                return None;
            }
            (0..(info & 0xffff) as usize).find_map(|index| {
                let at = position + 12 + 8 * index;
                (self.string(word(self.types, at)?)? == name.as_bytes()).then(|| word(self.types, at + 4))?
            })
        })
    }

    /// Whether the kernel has a function of that name that can be attached to by name (a BPF iterator's or
    /// tracepoint's prototype also counts as one).
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.function_number(name).is_some()
    }

    /// Its type's number.
    #[must_use]
    pub fn function_number(&self, name: &str) -> Option<u32> {
        let index = self.positions.iter().position(|position| {
            let position = *position as usize;
            word(self.types, position + 4).is_some_and(|info| info >> 24 & 0x1f == KIND_FUNC)
                && self.is_named(position, name.as_bytes())
        })?;
        u32::try_from(index + 1).ok()
    }

    /// How many arguments a BTF tracepoint has, `None` where it does not exist. Its prototype is what the typedef
    /// `btf_trace_<name>` points to, with the tracepoint's own data before the arguments.
    #[must_use]
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let wanted = format!("btf_trace_{name}");
        let typedef = self.positions.iter().map(|position| *position as usize).find(|position| {
            word(self.types, position + 4).is_some_and(|info| info >> 24 & 0x1f == KIND_TYPEDEF)
                && self.is_named(*position, wanted.as_bytes())
        })?;
        let (_, _, _, pointer) = self.type_at(word(self.types, typedef + 8)?)?;
        let (kind, parameters, _, _) = self.type_at(word(self.types, pointer + 8)?)?;
        if kind == KIND_FUNC_PROTO { parameters.checked_sub(1) } else { None }
    }
}

/// Bytes that follow the three common words of a type.
fn trailer(kind: u32, members: usize) -> usize {
    match kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * members,
        KIND_ENUM | KIND_FUNC_PROTO => 8 * members,
        _ => 0,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND_PTR: u32 = 2;

    /// Writes BTF by hand: strings and types as given.
    fn file(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(HEADER_MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        let length = u32::try_from(types.len() * 4).unwrap();
        for value in [24, 0, length, length, u32::try_from(strings.len()).unwrap()] {
            bytes.extend(value.to_ne_bytes());
        }
        bytes.extend(types.iter().flat_map(|value| value.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    fn sample() -> Vec<u8> {
        // struct a { int; union { int x; struct b y:8 bits in }; } with an anonymous union in the middle
        let strings = b"\0int\0a\0b\0x\0flag\0btf_trace_t\0ONE\0";
        let types: [&[u32]; 8] = [
            &[1, KIND_INT << 24, 4, 32],                                  // 1: int
            &[7, 1 << 31 | KIND_STRUCT << 24 | 1, 4, 11, 1, 1 << 24 | 5], // 2: struct b, flag:1 at bit 5
            &[0, KIND_UNION << 24 | 1, 4, 9, 2, 0],                       // 3: union { struct b x; }
            &[5, KIND_STRUCT << 24 | 1, 8, 0, 3, 32],                     // 4: struct a, <3> at bit 32
            &[16, KIND_TYPEDEF << 24, 7],                                 // 5: to <7>
            &[0, KIND_ENUM << 24 | 1, 4, 28, 7],                          // 6: enum { ONE = 7 }
            &[0, KIND_PTR << 24, 8],                                      // 7: to <8>
            &[0, KIND_FUNC_PROTO << 24 | 3, 0, 0, 1, 0, 1, 0, 1],         // 8: void (int, int, int)
        ];
        let types: Vec<u32> = types.concat();
        file(&types, strings)
    }

    #[test]
    fn members_are_found_through_unnamed_ones() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.member_bits("a.x"), Some(32));
        assert_eq!(btf.member_bits("a.x.flag"), Some(37));
        assert_eq!(btf.member_bits("a.absent"), None);
        assert_eq!(btf.member_bits("absent.x"), None);
    }

    #[test]
    fn enumerators_and_tracepoints_are_found_by_name() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.enumerator("ONE"), Some(7));
        assert_eq!(btf.enumerator("TWO"), None);
        assert_eq!(btf.tracepoint_arguments("t"), Some(2));
        assert_eq!(btf.tracepoint_arguments("u"), None);
    }

    proptest! {
        #[test]
        fn damaged_files_are_refused_or_searched_without_panic(flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8), cut in any::<usize>()) {
            let mut bytes = sample();
            for (at, value) in flips {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            bytes.truncate(cut % (bytes.len() + 1));
            if let Ok(btf) = Btf::parse(&bytes) {
                let _ = btf.member_bits("a.x.flag");
                let _ = btf.enumerator("ONE");
            }
        }
    }
}
