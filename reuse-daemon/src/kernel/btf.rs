//! The kernel's own description of its structures: where a member is, what a constant is worth, what exists.
//!
//! A small reader of BTF: aya keeps members private. It borrows the file's bytes, indexes the types once and is dropped
//! after start.

mod format;
mod prototype;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use self::format::{
    COMMON, HEADER_MAGIC, KIND_CONST, KIND_ENUM, KIND_FUNC, KIND_RESTRICT, KIND_STRUCT, KIND_TYPE_TAG,
    KIND_TYPEDEF, KIND_UNION, KIND_VOLATILE, KNOWN_KINDS, array, trailer, word,
};
pub use self::source::{BtfError, OWN, Types, kernel_has_types, read_file};

/// How the type begins that a tracepoint's prototype hangs on.
const TRACEPOINT: &[u8] = b"btf_trace_";

/// A parsed BTF file.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Position of each type in `types`; type id 1 comes first
    positions: Vec<u32>,
    /// Structures by name. Functions are many times as many and are asked for a handful of times: those are searched
    structures: HashMap<&'a [u8], u32>,
    /// The type behind which each tracepoint has its prototype, by the tracepoint's name
    tracepoints: HashMap<&'a [u8], u32>,
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
            positions: Vec::new(),
            structures: HashMap::new(),
            tracepoints: HashMap::new(),
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
            if kind == KIND_STRUCT {
                let name = self.name_at(at).ok_or("name out of bounds")?;
                if !name.is_empty() {
                    self.structures.entry(name).or_insert(id);
                }
            }
            if kind == KIND_TYPEDEF {
                let name = self.name_at(at).ok_or("name out of bounds")?;
                if let Some(name) = name.strip_prefix(TRACEPOINT) {
                    self.tracepoints.insert(name, id);
                }
            }
            self.positions.push(position);
            at += COMMON + trailer(kind, members);
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
            let at = position + COMMON + 12 * index;
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
                let at = position + COMMON + 8 * index;
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

    /// Number of the type that carries the prototype of the tracepoint of that name.
    #[must_use]
    pub fn tracepoint_number(&self, name: &str) -> Option<u32> {
        self.tracepoints.get(name.as_bytes()).copied()
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
}
