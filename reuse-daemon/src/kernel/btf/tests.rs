//! On a file written by hand.

use proptest::prelude::*;
use reuse_ebpf::hooks::{Hook, Place, Prototype};

use super::{
    format::{KIND_FUNC_PROTO, KIND_INT, KIND_PTR},
    *,
};

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

pub(super) fn sample() -> Vec<u8> {
    // Structure a has an unnamed union in the middle, in which a member is a structure with a bit-field.
    let strings = b"\0int\0a\0b\0x\0flag\0btf_trace_t\0ONE\0e\0u32\0";
    let types: [&[u32]; 13] = [
        &[1, KIND_INT << 24, 4, 32],                                   // 1: int
        &[7, 1 << 31 | KIND_STRUCT << 24 | 1, 4, 11, 1, 1 << 24 | 5],  // 2: struct b, flag:1 at bit 5
        &[0, KIND_UNION << 24 | 1, 4, 9, 2, 0],                        // 3: union { struct b x; }
        &[5, KIND_STRUCT << 24 | 1, 8, 0, 3, 32],                      // 4: struct a, <3> at bit 32
        &[16, KIND_TYPEDEF << 24, 7],                                  // 5: to <7>
        &[32, KIND_ENUM << 24 | 1, 4, 28, 7],                          // 6: enum e { ONE = 7 }
        &[0, KIND_PTR << 24, 8],                                       // 7: to <8>
        &[0, KIND_FUNC_PROTO << 24 | 4, 0, 0, 13, 0, 1, 0, 11, 0, 12], // 8: void (<13>, int, <11>, <12>)
        &[0, KIND_CONST << 24, 2],                                     // 9: const struct b
        &[34, KIND_TYPEDEF << 24, 1],                                  // 10: u32
        &[0, KIND_PTR << 24, 9],                                       // 11: const struct b *
        &[0, KIND_CONST << 24, 10],                                    // 12: const u32
        &[0, KIND_PTR << 24, 0],                                       // 13: void *
    ];
    let types: Vec<u32> = types.concat();
    file(&types, strings)
}

fn tracepoint(name: &'static str) -> Hook {
    Hook { place: Place::Tracepoint, name, prototypes: &[Prototype { arguments: &[], since: "1.0" }] }
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
    assert_eq!(
        btf.arguments(&tracepoint("t")),
        Some(vec!["int", "const struct b *", "const u32"].into_iter().map(str::to_owned).collect())
    );
    assert_eq!(btf.arguments(&tracepoint("u")), None);
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
            let _ = btf.arguments(&tracepoint("t"));
        }
    }
}
