//! Versions of Linux.

/// The version of a running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release {
    /// 6 of 6.18.44
    pub major: u16,
    /// 18 of 6.18.44
    pub minor: u16,
    /// 44 of 6.18.44; 0 where the name has none
    pub patch: u16,
}

impl Release {
    /// The newest whose sources were read for the rulebook.
    pub const NEWEST: Self = Self::new(6, 19, 11);

    pub(super) const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Reads what `uname -r` gives: `6.18.44`, `6.12-rc3`, `6.12.41+deb13-amd64`; `None` where not two numbers begin it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let major = leading_number(parts.next()?)?;
        let minor = leading_number(parts.next()?)?;
        let patch = parts.next().and_then(leading_number).unwrap_or(0);
        Some(Self { major, minor, patch })
    }

    /// Reads what `uname -r` and `uname -v` give. Debian may name a whole series by its first release (`6.1.0-28-amd64`)
    /// and say which it is in the latter (`#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)`).
    #[must_use]
    pub fn of_uname(release: &str, version: &str) -> Option<Self> {
        let mut words = version.split_ascii_whitespace();
        words.find(|word| *word == "Debian");
        let packaged = words.next().and_then(Self::parse);
        let named = Self::parse(release)?;
        let same_series = packaged.filter(|packaged| packaged.series() == named.series());
        Some(same_series.unwrap_or(named))
    }

    /// Whether a change that came with each of `releases`, one to a series, is in this one: the newest of them and all
    /// after it have it, of the other series those from the named one on. `releases` rise.
    pub(super) fn has_any(self, releases: &[(u16, u16, u16)]) -> bool {
        let mut fixes = releases.iter().map(|&(major, minor, patch)| Self::new(major, minor, patch));
        let newest = fixes.next_back();
        newest.is_some_and(|newest| self >= newest)
            || fixes.any(|fix| self.series() == fix.series() && self >= fix)
    }

    /// Whether this is one of the series of `releases`, from the named one on.
    pub(super) fn is_in_series_from(self, releases: &[(u16, u16, u16)]) -> bool {
        let mut named = releases.iter().map(|&(major, minor, patch)| Self::new(major, minor, patch));
        named.any(|named| self.series() == named.series() && self >= named)
    }

    fn series(self) -> (u16, u16) {
        (self.major, self.minor)
    }
}

fn leading_number(text: &str) -> Option<u16> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (text, expected) in [
            ("6.18.44", Some((6, 18, 44))),
            ("6.18.44-fc-v669", Some((6, 18, 44))),
            ("6.12-rc3", Some((6, 12, 0))),
            ("6.12.41+deb13-amd64", Some((6, 12, 41))),
            ("5.14.0-503.el9.x86_64", Some((5, 14, 0))),
            ("7.1", Some((7, 1, 0))),
            ("", None),
            ("6", None),
            ("six.one", None),
            ("99999.1", None),
        ] {
            let expected = expected.map(|(major, minor, patch)| Release { major, minor, patch });
            assert_eq!(Release::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn debian_says_which_release_of_the_series_it_is() {
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)";
        assert_eq!(Release::of_uname("6.1.0-28-amd64", debian), Some(Release::new(6, 1, 119)));
        assert_eq!(Release::of_uname("6.18.44", debian), Some(Release::new(6, 18, 44)), "another series");
        assert_eq!(Release::of_uname("6.8.0-45-generic", "#45-Ubuntu SMP"), Some(Release::new(6, 8, 0)));
    }

    proptest! {
        #[test]
        fn any_text_is_read(release in ".*", version in ".*") {
            let _ = Release::of_uname(&release, &version);
        }
    }
}
