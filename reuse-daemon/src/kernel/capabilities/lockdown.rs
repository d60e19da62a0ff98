//! How far the kernel is locked down against root (Documentation, kernel_lockdown(7)).
//!
//! `integrity` takes nothing from the daemon. `confidentiality` takes programs their way to read kernel memory and root its
//! way into tracefs (include/linux/security.h, `LOCKDOWN_BPF_READ_KERNEL`, `LOCKDOWN_TRACEFS`): nothing works.

use std::fs;

use crate::kernel::trial;

const FILE: &str = "/sys/kernel/security/lockdown";

/// Degree of lockdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// None
    Off,
    /// The kernel may not be changed
    Integrity,
    /// Nor may its secrets be read
    Confidentiality,
    /// It is not shown in known words, but programs may read kernel memory: none, or integrity
    NotConfidentiality,
}

impl Lockdown {
    /// That of the running kernel; where securityfs is not mounted, by trying.
    #[must_use]
    pub fn of_running_kernel() -> Self {
        let shown = fs::read_to_string(FILE).ok();
        shown.and_then(|text| Self::parse(&text)).unwrap_or_else(|| match trial::read_kernel_memory() {
            // What the helper is refused with, when only lockdown can be the reason (kernel/trace/bpf_trace.c).
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Self::Confidentiality,
            _ => Self::NotConfidentiality,
        })
    }

    /// `none [integrity] confidentiality`: the one in force is in brackets.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('[')?;
        match rest.split_once(']')?.0 {
            "none" => Some(Self::Off),
            "integrity" => Some(Self::Integrity),
            "confidentiality" => Some(Self::Confidentiality),
            _ => None,
        }
    }

    /// In the kernel's words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
            Self::NotConfidentiality => "none or integrity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_brackets_is_in_force() {
        assert_eq!(Lockdown::parse("[none] integrity confidentiality\n"), Some(Lockdown::Off));
        assert_eq!(Lockdown::parse("none [integrity] confidentiality\n"), Some(Lockdown::Integrity));
        assert_eq!(Lockdown::parse("none integrity [confidentiality]\n"), Some(Lockdown::Confidentiality));
        for unknown in ["", "none", "[none", "[] [none]", "]none["] {
            assert_eq!(Lockdown::parse(unknown), None, "{unknown}");
        }
    }
}
