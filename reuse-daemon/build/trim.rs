//! Takes out of the eBPF object what no loader reads: the description for debuggers and the source line of each
//! instruction. They are nine tenths of it, the loader would go through all of it at every start, and the kernel would be
//! given the lines with each program.

/// ELF of 64 bits, as programs of the kernel are (elf(5)): where in the file header, and in that of a section, is what.
const SECTIONS: usize = 0x28;
const SECTION_COUNT: usize = 0x3c;
const NAMES_INDEX: usize = 0x3e;
const FILE_HEADER: usize = 64;
const SECTION_HEADER: usize = 64;
const NAME: usize = 0x00;
const OFFSET: usize = 0x18;
const SIZE: usize = 0x20;
const TYPE: usize = 0x04;
const FLAGS: usize = 0x08;
/// Alignment of every section: what the strictest of them needs.
const ALIGNMENT: usize = 8;
const TYPE_NO_BITS: u32 = 8;
const FLAG_CODE: u32 = 4;
/// What programs have in common, which goes with each of them.
const SHARED_CODE: &[u8] = b".text";

/// `struct btf_ext_header` (tools/lib/bpf/libbpf_internal.h): its length; where after it the lines begin and the relocations
/// by the kernel's types, each with its length.
const EXT: &[u8] = b".BTF.ext";
const EXT_HEADER: usize = 4;
const LINES: usize = 16;
const LINES_LENGTH: usize = 20;
const RELOCATIONS: usize = 24;
const RELOCATIONS_LENGTH: usize = 28;

/// The object without them; each section keeps its number.
///
/// # Errors
/// It is no object, or damaged.
pub(crate) fn trimmed(object: &[u8]) -> Result<Vec<u8>, &'static str> {
    without(object, |name, _| is_unread(name))
}

/// The same with the programs of these sections alone: the loader links all that it is given, whether they are loaded or
/// not.
///
/// # Errors
/// It is no object, or damaged.
pub(crate) fn with_programs(object: &[u8], sections: &[&str]) -> Result<Vec<u8>, &'static str> {
    let is_kept = |name: &[u8]| name == SHARED_CODE || sections.iter().any(|kept| kept.as_bytes() == name);
    let mut others = Vec::new();
    // The relocations of a section come after it.
    without(object, |name, is_code| {
        if is_code && !is_kept(name) {
            others.push(name.to_vec());
            return true;
        }
        let relocated = name.strip_prefix(b".rel").unwrap_or_default();
        is_unread(name) || others.iter().any(|other| other == relocated)
    })
}

fn without(object: &[u8], mut goes: impl FnMut(&[u8], bool) -> bool) -> Result<Vec<u8>, &'static str> {
    const DAMAGED: &str = "a damaged eBPF object";
    if !object.starts_with(b"\x7fELF\x02\x01") {
        return Err("not a little-endian ELF object of 64 bits");
    }
    let sections = long(object, SECTIONS).ok_or(DAMAGED)?;
    let count = short(object, SECTION_COUNT).ok_or(DAMAGED)?;
    let headers =
        object.get(sections..).and_then(|rest| rest.get(..count * SECTION_HEADER)).ok_or(DAMAGED)?;
    let names = short(object, NAMES_INDEX).and_then(|index| headers.get(index * SECTION_HEADER..));
    let names = names.and_then(|header| contents(object, header)).ok_or(DAMAGED)?;

    let mut kept = object.get(..FILE_HEADER).ok_or(DAMAGED)?.to_vec();
    let mut kept_headers = Vec::with_capacity(headers.len());
    for header in headers.chunks_exact(SECTION_HEADER) {
        let name = word(header, NAME).and_then(|offset| names.get(offset as usize..)).ok_or(DAMAGED)?;
        let name = name.split(|byte| *byte == 0).next().ok_or(DAMAGED)?;
        let is_code = word(header, FLAGS).ok_or(DAMAGED)? & FLAG_CODE != 0;
        if goes(name, is_code) {
            kept_headers.extend([0; SECTION_HEADER]);
            continue;
        }
        let mut bytes = contents(object, header).ok_or(DAMAGED)?.to_vec();
        if name == EXT {
            take_out_lines(&mut bytes).ok_or(DAMAGED)?;
        }
        kept.resize(kept.len().next_multiple_of(ALIGNMENT), 0);
        let mut header = header.to_vec();
        header[OFFSET..OFFSET + 8].copy_from_slice(&(kept.len() as u64).to_le_bytes());
        if word(&header, TYPE) != Some(TYPE_NO_BITS) {
            header[SIZE..SIZE + 8].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        }
        kept.extend(bytes);
        kept_headers.extend(header);
    }
    kept.resize(kept.len().next_multiple_of(ALIGNMENT), 0);
    let sections = kept.len() as u64;
    kept[SECTIONS..SECTIONS + 8].copy_from_slice(&sections.to_le_bytes());
    kept.extend(kept_headers);
    Ok(kept)
}

/// DWARF; and where it and BTF are to be relocated, which for BTF the loader knows without.
fn is_unread(name: &[u8]) -> bool {
    let section = name.strip_prefix(b".rel").unwrap_or(name);
    section.starts_with(b".debug_") || name.starts_with(b".rel.BTF")
}

/// The lines stand at the end: the kernel's types relocate nothing of ours.
fn take_out_lines(ext: &mut Vec<u8>) -> Option<()> {
    let lines = word(ext, LINES)?;
    let begin = (word(ext, EXT_HEADER)? as usize).checked_add(lines as usize)?;
    let end = begin.checked_add(word(ext, LINES_LENGTH)? as usize)?;
    if end != ext.len() || word(ext, RELOCATIONS_LENGTH)? != 0 {
        return None;
    }
    ext.truncate(begin);
    ext.get_mut(LINES_LENGTH..LINES_LENGTH + 4)?.fill(0);
    ext.get_mut(RELOCATIONS..RELOCATIONS + 4)?.copy_from_slice(&lines.to_le_bytes());
    Some(())
}

fn contents<'a>(object: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    if word(header, TYPE)? == TYPE_NO_BITS {
        return Some(&[]);
    }
    object.get(long(header, OFFSET)?..)?.get(..long(header, SIZE)?)
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(bytes)).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}
