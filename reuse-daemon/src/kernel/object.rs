//! The eBPF objects that the build put into this binary.

use std::borrow::Cow;

use thiserror::Error;

use super::cast::Cast;

/// The programs; empty in a build without the eBPF toolchain.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/reuse-ebpf"));

/// The same, reading by casts.
static CASTING: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/reuse-ebpf-casting"));

/// Those of them that the commands without a daemon need.
static LEAN: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/reuse-ebpf-lean"));

/// This binary was built without its programs.
#[derive(Debug, Error)]
#[error("this reuse-daemon was built without its eBPF programs and can only print help; {}", Self::REMEDY)]
pub struct Stub;

impl Stub {
    /// What to do about it.
    pub(super) const REMEDY: &str = "build it with `cargo xtask build --release`";
}

/// Whether there are programs.
///
/// # Errors
/// [`Stub`]
pub fn require() -> Result<(), Stub> {
    bytes(None).map(drop)
}

/// The programs, which read by this cast if there is one.
///
/// # Errors
/// [`Stub`]
pub(super) fn bytes(cast: Option<Cast>) -> Result<Cow<'static, [u8]>, Stub> {
    if OBJECT.is_empty() {
        return Err(Stub);
    }
    Ok(cast.map_or(Cow::Borrowed(OBJECT), |cast| Cow::Owned(cast.put_into(CASTING))))
}

/// `ask`, `snapshot` and `owners` alone, with all maps.
///
/// # Errors
/// [`Stub`]
pub(super) fn lean() -> Result<&'static [u8], Stub> {
    if LEAN.is_empty() { Err(Stub) } else { Ok(LEAN) }
}

#[cfg(test)]
#[path = "../../build/trim.rs"]
mod trim;

#[cfg(test)]
mod tests {
    use object::{
        Architecture, BinaryFormat, Endianness, Object as _, ObjectSection as _, ObjectSymbol as _,
        SectionKind, elf,
        write::{Object, Relocation, RelocationFlags, Symbol, SymbolFlags, SymbolSection},
    };

    use super::trim::{trimmed, with_programs};

    const CODE: &[u8] = &[7; 24];
    /// `struct btf_ext_header` of 32 bytes, 8 bytes on functions, 12 on lines
    const EXT: [u32; 13] = [0x1eb9f, 32, 0, 8, 8, 12, 20, 0, 1, 2, 3, 4, 5];
    const EXT_TRIMMED: [u32; 10] = [0x1eb9f, 32, 0, 8, 8, 0, 8, 0, 1, 2];

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// An object with a program, what debuggers want, and a map behind it.
    fn whole(ext: &[u32]) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let add = |object: &mut Object<'_>, name: &str, kind, data: &[u8]| {
            let section = object.add_section(Vec::new(), name.into(), kind);
            object.append_section_data(section, data, 8);
            section
        };
        let text = add(&mut object, ".text", SectionKind::Text, CODE);
        let program = add(&mut object, "raw_tp", SectionKind::Text, CODE);
        let debug = add(&mut object, ".debug_info", SectionKind::Debug, &[1; 100]);
        let ext = add(&mut object, ".BTF.ext", SectionKind::Other, &bytes(ext));
        let maps = add(&mut object, "maps", SectionKind::Data, &[2; 3]);
        let symbol = object.add_symbol(Symbol {
            name: b"MAP".to_vec(),
            value: 0,
            size: 3,
            kind: object::SymbolKind::Data,
            scope: object::SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(maps),
            flags: SymbolFlags::None,
        });
        let flags = RelocationFlags::Elf { r_type: elf::R_BPF_64_64 };
        for section in [text, program, debug, ext] {
            let relocation = Relocation { offset: 8, symbol, addend: 0, flags };
            object.add_relocation(section, relocation).expect("a relocation");
        }
        object.write().expect("an object")
    }

    #[test]
    fn what_no_loader_reads_is_gone_and_all_else_as_it_was() {
        let (whole, trimmed) = (whole(&EXT), trimmed(&whole(&EXT)).expect("an object"));
        let before = object::File::parse(whole.as_slice()).expect("an object");
        let after = object::File::parse(trimmed.as_slice()).expect("an object");
        for section in before.sections() {
            let name = section.name().expect("a name");
            let same = after.section_by_index(section.index()).expect("each keeps its number");
            if name.contains("debug") || name == ".rel.BTF.ext" {
                assert_eq!((same.name(), same.size()), (Ok(""), 0), "{name}");
                continue;
            }
            let data =
                if name == ".BTF.ext" { bytes(&EXT_TRIMMED) } else { section.data().unwrap().to_vec() };
            assert_eq!((same.name(), same.data()), (Ok(name), Ok(data.as_slice())));
            let relocations = if [".text", "raw_tp"].contains(&name) { 1 } else { 0 };
            assert_eq!(same.relocations().count(), relocations, "{name}");
        }
        let place = |file: &object::File<'_>| {
            let map = file.symbol_by_name("MAP").expect("the map's symbol");
            (map.index(), map.section(), map.address(), map.size())
        };
        assert_eq!(place(&after), place(&before));
    }

    #[test]
    fn programs_that_are_not_wanted_go_with_their_relocations() {
        let names = |sections: &[&str]| {
            let object = with_programs(&whole(&EXT), sections).expect("an object");
            let file = object::File::parse(object.as_slice()).expect("an object");
            file.sections().filter_map(|section| Some(section.name().ok()?.to_owned())).collect::<Vec<_>>()
        };
        let has = |names: &[String], name: &str| names.iter().any(|other| other == name);
        let (with, without) = (names(&["raw_tp"]), names(&["iter/task_file"]));
        for name in ["raw_tp", ".relraw_tp"] {
            assert!(has(&with, name) && !has(&without, name), "{name}: {with:?} {without:?}");
        }
        for name in [".text", ".rel.text", "maps", ".BTF.ext", ".symtab"] {
            assert!(has(&with, name) && has(&without, name), "{name}: {with:?} {without:?}");
        }
    }

    #[test]
    fn what_is_no_object_or_damaged_is_refused() {
        let whole = whole(&EXT);
        for length in 0..whole.len() {
            assert!(trimmed(&whole[..length]).is_err(), "{length} bytes");
        }
        let mut relocated = EXT;
        relocated[7] = 8;
        assert!(trimmed(&self::whole(&relocated)).is_err(), "relocated by the kernel's types");
    }
}
