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

    /// Reads what `uname -r`, `uname -v` and `/proc/version_signature` give. Debian and Ubuntu name a whole series by its
    /// first release (`6.1.0-28-amd64`, `6.8.0-45-generic`). Which one of the series it is, Debian says in the second
    /// (`#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)`), Ubuntu in the third, which nobody else has
    /// (`Ubuntu 6.8.0-45.45-generic 6.8.12`).
    #[must_use]
    pub fn of_names(release: &str, version: &str, signature: &str) -> Option<Self> {
        let mut words = version.split_ascii_whitespace();
        words.find(|word| *word == "Debian");
        let debian = words.next();
        let ubuntu = signature.split_ascii_whitespace().nth(2);
        let named = Self::parse(release)?;
        let mut packaged = debian.into_iter().chain(ubuntu).filter_map(Self::parse);
        Some(packaged.find(|packaged| packaged.series() == named.series()).unwrap_or(named))
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
    fn debian_and_ubuntu_say_which_release_of_the_series_it_is() {
        const DEBIAN: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)";
        const UBUNTU: (&str, &str) = ("6.8.0-45-generic", "#45-Ubuntu SMP");
        for (release, version, signature, expected) in [
            ("6.1.0-28-amd64", DEBIAN, "", (6, 1, 119)),
            ("6.18.44", DEBIAN, "", (6, 18, 44)),
            (UBUNTU.0, UBUNTU.1, "Ubuntu 6.8.0-45.45-generic 6.8.12\n", (6, 8, 12)),
            (UBUNTU.0, UBUNTU.1, "Ubuntu 6.8.0-45.45-generic", (6, 8, 0)),
            (UBUNTU.0, UBUNTU.1, "", (6, 8, 0)),
            ("6.18.44", "#1 SMP", "Ubuntu 6.8.0-45.45-generic 6.8.12", (6, 18, 44)),
        ] {
            let (major, minor, patch) = expected;
            let told = Release::of_names(release, version, signature);
            assert_eq!(told, Some(Release::new(major, minor, patch)), "{release} {version} {signature}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(release in ".*", version in ".*", signature in ".*") {
            let _ = Release::of_names(&release, &version, &signature);
        }
    }
}
