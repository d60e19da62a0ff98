//! Offsets of this kernel: those the programs read with, and those the decoder reads the copied bytes with.

mod socket;

use std::collections::BTreeMap;

use reuse_ebpf::{
    offsets::{ABSENT, Concern, Measure, Member, Offsets},
    record::{SOCK_COMMON, SOCK_COMMON_READ},
};
use thiserror::Error;

pub use self::socket::SocketLayout;
use super::btf::Btf;

/// A member that must be there is not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Not in BTF
    #[error(
        "this kernel's type information has no member `{0}`; it is too old, too new or changed: please report it"
    )]
    Missing(&'static str),
    /// Behind the bytes that are copied
    #[error("`{0}` lies too far into a socket on this kernel: please report it")]
    TooFar(&'static str),
}

/// What the programs read with: the offset of each member, and which of them this kernel lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramLayout {
    /// In the order of [`Offsets::MEMBERS`]
    values: [u32; Offsets::LEN],
    /// What each concern lacks: the first such member
    missing: BTreeMap<Concern, LayoutError>,
}

impl ProgramLayout {
    /// Looks up every member.
    ///
    /// # Errors
    /// The first missing one that nothing works without.
    pub fn from_btf(btf: &Btf<'_>) -> Result<Self, LayoutError> {
        Self::by(|member| member.path.split('|').find_map(|path| measure(btf, path, member.measure)))
    }

    fn by(look_up: impl Fn(Member) -> Option<u32>) -> Result<Self, LayoutError> {
        let mut layout = Self { values: [ABSENT; Offsets::LEN], missing: BTreeMap::new() };
        for (value, member) in layout.values.iter_mut().zip(Offsets::MEMBERS) {
            let found = look_up(member).ok_or(LayoutError::Missing(member.path)).and_then(|offset| {
                // The programs read these from one copy, whose end no verifier can see.
                let copied = member.path.starts_with("sock_common.");
                if copied && !lies_within(offset, member, copied_bytes(member)) {
                    Err(LayoutError::TooFar(member.path))
                } else {
                    Ok(offset)
                }
            });
            match (found, member.concern) {
                (Ok(offset), _) => *value = offset,
                (Err(error), Concern::All) => return Err(error),
                (Err(_), Concern::Optional) => {}
                (Err(error), concern) => {
                    layout.missing.entry(concern).or_insert(error);
                }
            }
        }
        Ok(layout)
    }

    /// The concerns that lack a member, each with the first one.
    pub fn missing(&self) -> impl Iterator<Item = (Concern, &LayoutError)> {
        self.missing.iter().map(|(concern, error)| (*concern, error))
    }

    /// Makes sure that these concerns lack no member.
    ///
    /// # Errors
    /// The first that is missing.
    pub fn require(&self, concerns: &[Concern]) -> Result<(), LayoutError> {
        let missing = concerns.iter().find_map(|concern| self.missing.get(concern));
        missing.map_or(Ok(()), |error| Err(error.clone()))
    }

    /// The offsets as the programs get them. Of each concern in `without`, and of each that lacks a member, all members
    /// are [`ABSENT`]: a program that finds one of them so leaves the whole concern out.
    #[must_use]
    pub fn offsets(&self, without: &[Concern]) -> Offsets {
        let mut values = self.values;
        for (value, member) in values.iter_mut().zip(Offsets::MEMBERS) {
            if without.contains(&member.concern) || self.missing.contains_key(&member.concern) {
                *value = ABSENT;
            }
        }
        Offsets::from_array(values)
    }
}

/// Bytes of the shortest copy that a member is read from: a record's, or that of the walk, which goes on by the links.
fn copied_bytes(member: Member) -> usize {
    if member.path.ends_with("_node") { SOCK_COMMON_READ } else { SOCK_COMMON }
}

/// Whether a member ends within the first `bytes`; none that is read so is longer than an address.
fn lies_within(offset: u32, member: Member, bytes: usize) -> bool {
    let (start, length) = match member.measure {
        Measure::Bits | Measure::Flag => (offset / 8, 1),
        Measure::Bytes | Measure::Size if member.path.ends_with("v6_rcv_saddr") => (offset, 16),
        Measure::Bytes | Measure::Size => (offset, 8),
    };
    start as usize + length <= bytes
}

fn measure(btf: &Btf<'_>, path: &str, measure: Measure) -> Option<u32> {
    match measure {
        Measure::Bytes => Some(bits(btf, path)? / 8),
        Measure::Flag => flag(btf, path),
        Measure::Bits => bits(btf, path),
        Measure::Size => btf.size(path),
    }
}

/// `path[ENUMERATOR]` as `path` and the enumerator.
fn indexed(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix(']').and_then(|path| path.split_once('['))
}

/// A bit-field, or the bit of a word that an enumerator numbers, counted from the word's first byte: the machines that the
/// programs are built for are little-endian.
fn flag(btf: &Btf<'_>, path: &str) -> Option<u32> {
    match indexed(path) {
        Some((word, number)) => btf.enumerator(number)?.checked_add(btf.member_bits(word)?),
        None => btf.member_bits(path),
    }
}

/// `path`, or `path[ENUMERATOR]`: the element of an array of pointers.
fn bits(btf: &Btf<'_>, path: &str) -> Option<u32> {
    let Some((array, index)) = indexed(path) else {
        return btf.member_bits(path);
    };
    btf.enumerator(index)?.checked_mul(u64::BITS)?.checked_add(btf.member_bits(array)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf;

    #[test]
    fn the_running_kernel_has_every_member() {
        let types = match btf::Types::find(None) {
            Ok(types) => types,
            Err(error) => return println!("SKIP the_running_kernel_has_every_member: {error}"),
        };
        let parsed = Btf::parse(&types.bytes).unwrap();
        let whole = ProgramLayout::from_btf(&parsed).unwrap();
        assert_eq!(whole.missing().collect::<Vec<_>>(), []);
        let offsets = whole.offsets(&[]);
        let layout = SocketLayout::from_btf(&parsed).unwrap();
        assert_eq!(offsets.sk_family as usize, layout.family);
        assert_eq!(offsets.sk_num as usize, layout.num);
        assert_eq!(offsets.sk_reuseport as usize, layout.reuseport);
    }

    /// A kernel in which every member lies at 8, but one that is not there.
    fn without(path: &str) -> Result<ProgramLayout, LayoutError> {
        ProgramLayout::by(|member| (member.path != path).then_some(8))
    }

    fn path_of(concern: Concern) -> &'static str {
        Offsets::MEMBERS.into_iter().find(|member| member.concern == concern).expect("has a member").path
    }

    #[test]
    fn a_missing_member_costs_its_concern_and_no_other() {
        for concern in Concern::COSTING {
            let layout = without(path_of(concern)).unwrap();
            let missing: Vec<_> = layout.missing().collect();
            assert_eq!(missing, [(concern, &LayoutError::Missing(path_of(concern)))]);
            let absent = |offsets: Offsets| {
                let values = Offsets::MEMBERS.into_iter().zip(offsets.to_array());
                values
                    .filter(|(_, value)| *value == ABSENT)
                    .map(|(member, _)| member.path)
                    .collect::<Vec<_>>()
            };
            let of_concern = Offsets::MEMBERS.into_iter().filter(|member| member.concern == concern);
            assert_eq!(absent(layout.offsets(&[])), of_concern.map(|member| member.path).collect::<Vec<_>>());
            let whole = ProgramLayout::by(|_| Some(8)).unwrap();
            assert_eq!(whole.offsets(&[concern]), layout.offsets(&[]));
        }
    }

    #[test]
    fn what_everything_needs_is_missed_by_name() {
        let path = path_of(Concern::All);
        assert_eq!(without(path), Err(LayoutError::Missing(path)));
        assert!(without(path_of(Concern::Optional)).unwrap().missing().next().is_none());
    }

    #[test]
    fn a_member_behind_the_copied_bytes_is_as_good_as_missing() {
        let far = |member: Member| Some(if member.path == "sock_common.skc_bind_node" { 4096 } else { 8 });
        let layout = ProgramLayout::by(far).unwrap();
        let missing: Vec<_> = layout.missing().collect();
        assert_eq!(missing, [(Concern::Holders, &LayoutError::TooFar("sock_common.skc_bind_node"))]);
    }
}
