//! What is booted: a kernel series, the parameters it is given beside the usual ones, and the tests that are run there.

use anyhow::{Context as _, Result, bail};

use crate::setup::kernels::{SERIES, Series};

/// A kernel booted in one particular way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    /// As it is asked for and reported.
    pub(crate) name: &'static str,
    /// Name of its series.
    series: &'static str,
    /// Kernel parameters beside the usual ones.
    pub(crate) parameters: &'static str,
    /// How many processors it has.
    pub(crate) processors: u8,
    /// Which tests are run.
    pub(crate) tests: Selection,
}

/// Which tests are run in a machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Selection {
    /// All there are.
    All,
    /// Those of these test binaries.
    Of(&'static [&'static str]),
}

/// The tests that say something about a kernel: its types, its rules, its hooks and what is read of its sockets. A third of
/// all, by the time they take. `exact_counts` and `ways_storm` are not among them: they have threads bind without a pause,
/// and count on no call being lost; an emulated 7.3 skips programs then, and says so (README, "Known limits").
const OF_A_KERNEL: &[&str] = &[
    "bind_listen",
    "check",
    "copies",
    "copies_mixed",
    "crowded_port",
    "differential",
    "group_facts",
    "group_flows",
    "group_queues",
    "group_traps_connections",
    "holders",
    "holders_connections",
    "holders_handed_over",
    "holders_udp",
    "inventory",
    "join_leave",
    "kernel_types",
    "mechanisms_agree",
    "mechanisms_agree_calls",
    "refusals",
    "rules",
    "signal_sources",
    "signals_shadow",
    "tiers",
    "ways_binds",
    "ways_implicit",
    "ways_io_uring",
    "ways_kernel",
    "ways_light",
];

/// Every variant, those with most to do first.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant { name: "6.1", series: "6.1", parameters: "", processors: 1, tests: Selection::All },
    Variant { name: "6.12", series: "6.12", parameters: "", processors: 1, tests: Selection::All },
    Variant { name: "7.3", series: "7.3", parameters: "", processors: 1, tests: Selection::Of(OF_A_KERNEL) },
    Variant {
        name: "6.12-integrity",
        series: "6.12",
        parameters: "lockdown=integrity",
        processors: 2,
        tests: Selection::Of(&["lockdown", "bind_listen", "lifecycle", "refusals", "tiers"]),
    },
    Variant {
        name: "6.12-confidentiality",
        series: "6.12",
        parameters: "lockdown=confidentiality",
        processors: 1,
        tests: Selection::Of(&["lockdown"]),
    },
];

impl Variant {
    /// The kernel it boots.
    ///
    /// # Errors
    /// If the series is not known.
    pub(crate) fn series(&self) -> Result<&'static Series> {
        let series = SERIES.iter().find(|series| series.name == self.series);
        series.with_context(|| format!("{}: no kernel series {}", self.name, self.series))
    }
}

impl Selection {
    /// Whether a test, named `binary::test`, is run.
    pub(crate) fn contains(self, test: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(binaries) => test.split_once("::").is_some_and(|(binary, _)| binaries.contains(&binary)),
        }
    }
}

/// The variants of the given names; the name of a series stands for all of its variants, and no name for all there are.
///
/// # Errors
/// If there is no such name.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Variant>> {
    let named = |name: &String| -> Vec<&'static Variant> {
        let exact = VARIANTS.iter().filter(|variant| variant.name == name);
        let of_series = VARIANTS.iter().filter(|variant| variant.series == name);
        if SERIES.iter().any(|series| series.name == name) { of_series.collect() } else { exact.collect() }
    };
    if let Some(unknown) = names.iter().find(|name| named(name).is_empty()) {
        let known: Vec<_> = VARIANTS.iter().map(|variant| variant.name).collect();
        bail!("no kernel {unknown}; there are {}", known.join(", "));
    }
    let wanted: Vec<_> = names.iter().flat_map(named).map(|variant| variant.name).collect();
    Ok(VARIANTS.iter().filter(|variant| names.is_empty() || wanted.contains(&variant.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Vec<&'static str> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        select(&names).unwrap().iter().map(|variant| variant.name).collect()
    }

    #[test]
    fn a_series_stands_for_all_its_variants_and_a_variant_for_itself() {
        assert_eq!(selected(&[]).len(), VARIANTS.len());
        assert_eq!(selected(&["6.1"]), ["6.1"]);
        assert_eq!(selected(&["6.12"]), ["6.12", "6.12-integrity", "6.12-confidentiality"]);
        assert_eq!(selected(&["6.12-integrity", "6.12-integrity"]), ["6.12-integrity"]);
    }

    #[test]
    fn an_unknown_kernel_is_refused_with_those_there_are() {
        let error = select(&["5.4".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("no kernel 5.4; there are 6.1, 6.12, 7.3, "), "{error}");
    }

    #[test]
    fn every_variant_has_a_kernel() {
        for variant in VARIANTS {
            variant.series().unwrap();
        }
    }

    #[test]
    fn every_selected_binary_is_a_file_of_tests() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        for variant in VARIANTS {
            let Selection::Of(binaries) = variant.tests else { continue };
            for binary in binaries.iter().filter(|binary| **binary != "rules") {
                assert!(folder.join(binary).with_extension("rs").is_file(), "{}: {binary}", variant.name);
            }
        }
    }

    #[test]
    fn tests_are_chosen_by_their_binary() {
        let selection = Selection::Of(&["lockdown"]);
        assert!(selection.contains("lockdown::says_so"));
        assert!(!selection.contains("lockdown_more::says_so"));
        assert!(Selection::All.contains("anything::at_all"));
    }
}
