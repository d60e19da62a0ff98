//! The kernel's own description of its structures: where a member is, what a constant is worth, what exists.
//!
//! A small reader of BTF: aya keeps members private. It borrows the file's bytes, indexes the types once and is dropped
//! after start.

mod format;
mod name;
mod prototype;
mod source;
#[cfg(test)]
mod tests;

use self::format::{
    COMMON, HEADER_MAGIC, KIND_CONST, KIND_ENUM, KIND_FUNC, KIND_RESTRICT, KIND_STRUCT, KIND_TYPE_TAG,
    KIND_TYPEDEF, KIND_UNION, KIND_VOLATILE, KNOWN_KINDS, array, trailer, word,
};
use self::name::{Index, Name};
pub use self::source::{BtfError, OWN, Types, kernel_has_types, read_file};

/// How the type begins that a tracepoint's prototype hangs on.
const TRACEPOINT: &[u8] = b"btf_trace_";

/// A parsed BTF file.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Position of each type in `types`; type id 1 comes first
    positions: Vec<u32>,
    /// Structures by name: they are asked for hundreds of times
    structures: Index,
    /// Where each function's type is. They are many times as many and asked for a handful of times: those are searched
    functions: Vec<Numbered>,
    /// Where the type is behind which a tracepoint has its prototype
    tracepoints: Vec<Numbered>,
    /// Position of each enumeration
    enumerations: Vec<u32>,
}

/// A named type: the name's place among the strings, and the type's number.
#[derive(Clone, Copy)]
struct Numbered {
    name: u32,
    number: u32,
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
        let mut btf = Self {
            types,
            strings,
            positions: Vec::with_capacity(types.len() / COMMON),
            structures: Index::default(),
            functions: Vec::with_capacity(types.len() / COMMON),
            tracepoints: Vec::new(),
            enumerations: Vec::new(),
        };
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
            let name = word(self.types, at).ok_or("truncated type")?;
            let out_of_bounds = "name out of bounds";
            match kind {
                KIND_STRUCT => self.structures.add(self.strings, name, id).ok_or(out_of_bounds)?,
                KIND_FUNC => self.functions.push(Numbered { name, number: id }),
                KIND_ENUM => self.enumerations.push(position),
                KIND_TYPEDEF => {
                    let rest = self.strings.get(name as usize..).ok_or(out_of_bounds)?;
                    if rest.starts_with(TRACEPOINT) {
                        self.tracepoints.push(Numbered { name: name + TRACEPOINT.len() as u32, number: id });
                    }
                }
                _ => {}
            }
            self.positions.push(position);
            at += COMMON + trailer(kind, members);
        }
        self.structures.sort();
        Ok(())
    }

    fn name_at(&self, position: usize) -> Option<&'a [u8]> {
        self.string(word(self.types, position)?)
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

    /// Number of the structure of that name.
    #[must_use]
    pub fn structure_number(&self, name: &str) -> Option<u32> {
        let name = Name::new(name.as_bytes());
        self.structures.find(&name, |id| {
            let offset = self.type_at(id).and_then(|(.., position)| word(self.types, position));
            offset.is_some_and(|offset| name.is_at(self.strings, offset))
        })
    }

    fn numbered(&self, types: &[Numbered], name: &str) -> Option<u32> {
        let name = Name::new(name.as_bytes());
        types.iter().find(|one| name.is_at(self.strings, one.name)).map(|one| one.number)
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
        let mut id = self.structure_number(parts.next()?)?;
        let mut bits = 0;
        for part in parts {
            let found = self.find(id, &Name::new(part.as_bytes()), 0)?;
            bits += found.bits;
            id = self.resolve(found.type_id)?;
        }
        Some(bits)
    }

    /// Size in bytes of the structure of that name.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u32> {
        let id = self.structure_number(name)?;
        let (_, _, _, position) = self.type_at(id)?;
        word(self.types, position + 8)
    }

    fn find(&self, id: u32, name: &Name<'_>, depth: usize) -> Option<Found> {
        const DEEPEST: usize = 8;
        let (kind, members, bitfields, position) = self.type_at(id)?;
        if depth > DEEPEST || !matches!(kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..members).find_map(|index| {
            let at = position + COMMON + 12 * index;
            let member = word(self.types, at)?;
            let type_id = word(self.types, at + 4)?;
            let offset = word(self.types, at + 8)?;
            // With the kind flag the upper byte is the width of a bit-field.
            let bits = if bitfields { offset & 0x00ff_ffff } else { offset };
            if name.is_at(self.strings, member) {
                return Some(Found { bits, type_id });
            }
            if *self.strings.get(member as usize)? != 0 {
                return None;
            }
            let inner = self.find(self.resolve(type_id)?, name, depth + 1)?;
            Some(Found { bits: bits + inner.bits, type_id: inner.type_id })
        })
    }

    /// Value of an enumerator, whatever enumeration it belongs to.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        let name = Name::new(name.as_bytes());
        self.enumerations.iter().find_map(|position| {
            let position = *position as usize;
            let info = word(self.types, position + 4)?;
            (0..(info & 0xffff) as usize).find_map(|index| {
                let at = position + COMMON + 8 * index;
                name.is_at(self.strings, word(self.types, at)?).then(|| word(self.types, at + 4))?
            })
        })
    }

    /// Whether the kernel has a function of that name that can be attached to by name (a BPF iterator's or
    /// tracepoint's prototype also counts as one).
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.function_number(name).is_some()
    }

    /// Number of the type that carries the prototype of the tracepoint of that name.
    #[must_use]
    pub fn tracepoint_number(&self, name: &str) -> Option<u32> {
        self.numbered(&self.tracepoints, name)
    }

    /// Its type's number.
    #[must_use]
    pub fn function_number(&self, name: &str) -> Option<u32> {
        self.numbered(&self.functions, name)
    }
}
