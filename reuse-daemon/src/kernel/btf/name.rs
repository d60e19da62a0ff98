//! Names, compared by their first bytes: most types have another, and there are a hundred thousand of them.

use super::format::array;

/// A name that is looked for.
pub(super) struct Name<'a> {
    whole: &'a [u8],
    begin: u64,
    /// Which bits of the first bytes are the name's, or the zero's that ends it
    mask: u64,
}

impl<'a> Name<'a> {
    pub(super) fn new(whole: &'a [u8]) -> Self {
        let mut begin = [0; 8];
        begin.iter_mut().zip(whole).for_each(|(to, from)| *to = *from);
        let bytes = (whole.len() + 1).min(begin.len()) as u32;
        Self { whole, begin: u64::from_le_bytes(begin), mask: u64::MAX >> (u64::BITS - 8 * bytes) }
    }

    /// Whether it stands there among the strings.
    pub(super) fn is_at(&self, strings: &[u8], offset: u32) -> bool {
        let at = offset as usize;
        if array(strings, at).is_some_and(|begin| u64::from_le_bytes(begin) & self.mask != self.begin) {
            return false;
        }
        let rest = strings.get(at..).and_then(|rest| rest.strip_prefix(self.whole));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Numbers of types by name, each name's smallest first.
#[derive(Default)]
pub(super) struct Index {
    /// With the first bytes of the name
    numbers: Vec<(u64, u32)>,
}

impl Index {
    /// Adds what is called what stands there among the strings; nothing for what has no name.
    pub(super) fn add(&mut self, strings: &[u8], offset: u32, number: u32) -> Option<()> {
        let begin = begin(strings, offset)?;
        if begin != 0 {
            self.numbers.push((begin, number));
        }
        Some(())
    }

    /// To be called after the last is added.
    pub(super) fn sort(&mut self) {
        self.numbers.sort_unstable();
    }

    /// The first number with which `is` agrees among those whose names begin as this one.
    pub(super) fn find(&self, name: &Name<'_>, is: impl Fn(u32) -> bool) -> Option<u32> {
        let first = self.numbers.partition_point(|(begin, _)| *begin < name.begin);
        let alike = self.numbers.get(first..)?.iter().take_while(|(begin, _)| *begin == name.begin);
        alike.map(|(_, number)| *number).find(|number| is(*number))
    }
}

/// The first bytes of the name that stands there, zeros after its end.
fn begin(strings: &[u8], offset: u32) -> Option<u64> {
    let at = offset as usize;
    let bytes: [u8; 8] = array(strings, at).or_else(|| {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(strings.get(at..)?).for_each(|(to, from)| *to = *from);
        Some(bytes)
    })?;
    let bytes = u64::from_le_bytes(bytes);
    // The highest bit of each byte that is zero; above the first one, others may be taken for zero.
    let zeros = bytes.wrapping_sub(0x0101_0101_0101_0101) & !bytes & 0x8080_8080_8080_8080;
    let before_first = (zeros & zeros.wrapping_neg()).wrapping_sub(1);
    Some(bytes & before_first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRINGS: &[u8] = b"\0sock\0sock_common\0sock_common_more\0so\0";

    #[test]
    fn a_name_is_found_where_it_stands_and_ends() {
        for (name, at) in [("sock", 1), ("sock_common", 6), ("sock_common_more", 18), ("so", 35), ("", 0)] {
            let found: Vec<u32> = (0..STRINGS.len() as u32)
                .filter(|offset| Name::new(name.as_bytes()).is_at(STRINGS, *offset))
                .collect();
            assert!(found.contains(&at), "{name}: {found:?}");
            assert!(name.is_empty() || found == [at], "{name}: {found:?}");
        }
        assert!(!Name::new(b"sock").is_at(b"\0sock", 1), "it does not end");
        assert!(!Name::new(b"sock").is_at(STRINGS, 100));
    }

    #[test]
    fn an_index_has_each_name_and_the_smallest_number_first() {
        let mut index = Index::default();
        for (number, offset) in [(9, 6), (3, 18), (5, 6), (2, 35), (1, 0)] {
            assert_eq!(index.add(STRINGS, offset, number), Some(()));
        }
        assert_eq!(index.add(STRINGS, 100, 1), None);
        index.sort();
        let find = |name: &'static str| index.find(&Name::new(name.as_bytes()), |number| number != 3);
        assert_eq!(find("sock_common"), Some(5));
        assert_eq!(find("so"), Some(2));
        assert_eq!(find("sock"), None);
        assert_eq!(find(""), None);
    }

    proptest! {
        #[test]
        fn both_take_the_same_bytes_for_the_begin(name in "[a-c\u{80}]{0,12}", rest in prop::collection::vec(any::<u8>(), 0..9)) {
            let strings = [name.as_bytes(), &[0], &rest].concat();
            prop_assert_eq!(begin(&strings, 0), Some(Name::new(name.as_bytes()).begin));
        }
    }
}
