//! The eBPF toolchain unit: rustc, its LLVM and bpf-linker, which read and write one bitcode format and are pinned
//! together here. Which compiler to take is decided by a pure function of what the machine has.

use std::{fmt, process::Command};

use crate::{
    cli::Origin,
    setup::{Step, apt, step::Failure},
};

/// The pinned parts.
pub(crate) struct Pins {
    /// The release rustup installs when the active toolchain does not fit.
    pub(crate) rustc: &'static str,
    /// Bitcode of another major version cannot be read ("Invalid record").
    pub(crate) llvm_major: u32,
    /// From the crate registry.
    pub(crate) bpf_linker: &'static str,
    /// bpf-linker's feature that selects bindings for `llvm_major`.
    pub(crate) llvm_feature: &'static str,
    /// Debian's compiler, cargo and core source. The plain `rustc` of a stable release is years older.
    pub(crate) distribution_packages: &'static [&'static str],
    /// Debian's clippy for that compiler.
    pub(crate) distribution_clippy: &'static str,
    /// The name under which rustup knows the distribution's compiler.
    pub(crate) distribution_toolchain: &'static str,
}

/// One unit: change its parts together.
pub(crate) const PINS: Pins = Pins {
    rustc: "1.95.0",
    llvm_major: 22,
    bpf_linker: "0.13.0",
    llvm_feature: "llvm-22",
    distribution_packages: &["rustc-web", "cargo-web", "rust-web-src"],
    distribution_clippy: "rust-web-clippy",
    distribution_toolchain: "reuse-ebpf",
};

/// Why set-up gave up.
pub(crate) const NONE_LEFT: &str = "no compiler for the eBPF object can be had: rustup must be able to fetch the \
     rust-src component, or the package manager rustc-web, cargo-web and rust-web-src; see the messages above";

const LINTS_EBPF: &str = "lints the eBPF programs with the compiler that builds them";

/// A compiler on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// As rustup knows it.
    pub(crate) toolchain: String,
    /// Such as `1.95.0`.
    pub(crate) release: String,
    /// Such as `22.1.2`.
    pub(crate) llvm: String,
    /// Whether the source of `core` that belongs to it is there.
    pub(crate) has_core_source: bool,
    /// Whether its clippy is there.
    pub(crate) has_clippy: bool,
}

impl Compiler {
    /// Whether the pinned linker reads what it writes.
    pub(crate) fn fits(&self) -> bool {
        let major = self.llvm.split('.').next().and_then(|major| major.parse().ok());
        major == Some(PINS.llvm_major)
    }
}

/// What the choice depends on.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// The toolchain rustup uses now.
    pub(crate) active: Option<Compiler>,
    /// The pinned release, if rustup has it.
    pub(crate) pinned: Option<Compiler>,
    /// The distribution's compiler, linked or not.
    pub(crate) distribution: Option<Compiler>,
    /// Whether rustup knows the distribution's compiler by its name.
    pub(crate) distribution_linked: bool,
    /// Whether packages can be installed with apt.
    pub(crate) has_apt: bool,
}

/// One missing part of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fix {
    /// rustup's rust-src component for the toolchain.
    AddSource(String),
    /// The pinned release with its source.
    InstallPinned,
    /// The distribution's packages.
    InstallDistribution,
    /// The name for rustup.
    LinkDistribution,
    /// rustup's clippy component for the toolchain.
    AddClippy(String),
    /// The distribution's clippy.
    InstallDistributionClippy,
}

/// A compiler to try, with what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// Its name for rustup, once all is fixed.
    pub(crate) toolchain: String,
    /// What is known of it already.
    pub(crate) compiler: Option<Compiler>,
    /// In order.
    pub(crate) fixes: Vec<Fix>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Active => write!(f, "the active toolchain {} with its core source", self.toolchain),
            Origin::Pinned => write!(f, "rustup's toolchain {} with its core source", self.toolchain),
            Origin::Distribution => f.write_str("the distribution's compiler with its core source"),
        }
    }
}

impl Candidate {
    /// The same candidate for linting, which also needs the clippy that belongs to the compiler.
    #[must_use]
    pub(crate) fn with_clippy(mut self) -> Self {
        if !self.compiler.as_ref().is_some_and(|compiler| compiler.has_clippy) {
            self.fixes.push(match self.origin {
                Origin::Active | Origin::Pinned => Fix::AddClippy(self.toolchain.clone()),
                Origin::Distribution => Fix::InstallDistributionClippy,
            });
        }
        self
    }
}

/// The compilers worth trying, best first: those that are complete, then by origin.
pub(crate) fn candidates(machine: &Machine, only: Option<Origin>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = [active(machine), Some(pinned(machine)), distribution(machine)]
        .into_iter()
        .flatten()
        .filter(|candidate| only.is_none_or(|origin| candidate.origin == origin))
        .collect();
    // A stable sort keeps the preference among equals; so a unit that had to give way once is not tried again.
    all.sort_by_key(|candidate| !candidate.fixes.is_empty());
    all
}

fn active(machine: &Machine) -> Option<Candidate> {
    let compiler = machine.active.as_ref().filter(|compiler| compiler.fits())?;
    let source = (!compiler.has_core_source).then(|| Fix::AddSource(compiler.toolchain.clone()));
    Some(Candidate {
        origin: Origin::Active,
        toolchain: compiler.toolchain.clone(),
        compiler: Some(compiler.clone()),
        fixes: source.into_iter().collect(),
    })
}

fn pinned(machine: &Machine) -> Candidate {
    let complete = machine.pinned.as_ref().is_some_and(|compiler| compiler.has_core_source);
    Candidate {
        origin: Origin::Pinned,
        toolchain: PINS.rustc.to_owned(),
        compiler: machine.pinned.clone(),
        fixes: if complete { Vec::new() } else { vec![Fix::InstallPinned] },
    }
}

fn distribution(machine: &Machine) -> Option<Candidate> {
    let compiler = machine.distribution.as_ref();
    let complete = compiler.is_some_and(|compiler| compiler.fits() && compiler.has_core_source);
    if !complete && !machine.has_apt {
        return None;
    }
    let install = (!complete).then_some(Fix::InstallDistribution);
    let link = (!machine.distribution_linked).then_some(Fix::LinkDistribution);
    Some(Candidate {
        origin: Origin::Distribution,
        toolchain: PINS.distribution_toolchain.to_owned(),
        compiler: compiler.cloned(),
        fixes: install.into_iter().chain(link).collect(),
    })
}

impl Fix {
    /// The step that brings the part. Without it the candidate is none, but for its clippy.
    pub(crate) fn step(&self) -> Step {
        let mut rustup = Command::new("rustup");
        match self {
            Self::AddSource(toolchain) => {
                rustup.args(["component", "add", "rust-src", "--toolchain", toolchain]);
                let why = "the eBPF object is built with a core of its own, from source";
                Step::command(format!("rust-src of {toolchain}"), why.into(), rustup)
                    .on_failure(Failure::Ends)
            }
            Self::InstallPinned => {
                rustup.args(["toolchain", "install", PINS.rustc, "--profile", "minimal"]);
                rustup.args(["--component", "rust-src"]);
                let why = "a compiler of the eBPF object whose LLVM and core source match";
                Step::command(format!("Rust {}", PINS.rustc), why.into(), rustup).on_failure(Failure::Ends)
            }
            Self::InstallDistribution => {
                let why =
                    "a compiler of the eBPF object and its core source; your own cargo and rustc stay first";
                apt::install_step(PINS.distribution_packages.to_vec(), why.into()).on_failure(Failure::Ends)
            }
            Self::LinkDistribution => {
                rustup.args(["toolchain", "link", PINS.distribution_toolchain, "/usr"]);
                let what = format!("toolchain {}", PINS.distribution_toolchain);
                let why = "rustup's name for the distribution's compiler";
                Step::command(what, why.into(), rustup).on_failure(Failure::Ends)
            }
            Self::AddClippy(toolchain) => {
                rustup.args(["component", "add", "clippy", "--toolchain", toolchain]);
                Step::command(format!("clippy of {toolchain}"), LINTS_EBPF.into(), rustup)
            }
            Self::InstallDistributionClippy => {
                apt::install_step(vec![PINS.distribution_clippy], LINTS_EBPF.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(toolchain: &str, llvm: &str, has_core_source: bool) -> Option<Compiler> {
        let release = "1.95.0".to_owned();
        let (toolchain, llvm) = (toolchain.to_owned(), llvm.to_owned());
        Some(Compiler { toolchain, release, llvm, has_core_source, has_clippy: false })
    }

    fn origins(machine: &Machine) -> Vec<Origin> {
        candidates(machine, None).iter().map(|candidate| candidate.origin).collect()
    }

    #[test]
    fn a_bare_machine_tries_rustup_before_the_distribution() {
        let machine =
            Machine { active: compiler("stable", "22.1.2", false), has_apt: true, ..Machine::default() };
        assert_eq!(origins(&machine), [Origin::Active, Origin::Pinned, Origin::Distribution]);
        let all = candidates(&machine, None);
        assert_eq!(all[0].fixes, [Fix::AddSource("stable".into())]);
        assert_eq!(all[1].fixes, [Fix::InstallPinned]);
        assert_eq!(all[2].fixes, [Fix::InstallDistribution, Fix::LinkDistribution]);
    }

    #[test]
    fn an_active_compiler_of_another_llvm_is_not_a_candidate() {
        let machine =
            Machine { active: compiler("nightly", "23.1.0", true), has_apt: false, ..Machine::default() };
        assert_eq!(origins(&machine), [Origin::Pinned]);
    }

    #[test]
    fn the_distribution_comes_first_only_once_it_was_chosen_before() {
        let mut machine = Machine {
            active: compiler("stable", "22.1.2", false),
            distribution: compiler("reuse-ebpf", "22.1.8", true),
            ..Machine::default()
        };
        assert_eq!(origins(&machine), [Origin::Active, Origin::Pinned, Origin::Distribution]);
        assert_eq!(candidates(&machine, None)[2].fixes, [Fix::LinkDistribution]);
        machine.distribution_linked = true;
        assert_eq!(origins(&machine), [Origin::Distribution, Origin::Active, Origin::Pinned]);
    }

    #[test]
    fn a_complete_active_compiler_needs_nothing() {
        let machine = Machine {
            active: compiler("stable", "22.1.2", true),
            distribution: compiler("reuse-ebpf", "22.1.8", true),
            distribution_linked: true,
            ..Machine::default()
        };
        let all = candidates(&machine, None);
        assert_eq!((all[0].origin, all[0].fixes.len()), (Origin::Active, 0));
    }

    #[test]
    fn each_origin_has_a_clippy_of_its_own() {
        let machine =
            Machine { active: compiler("stable", "22.1.2", true), has_apt: true, ..Machine::default() };
        let last = |candidate: Candidate| candidate.with_clippy().fixes.pop();
        let fixes: Vec<_> = candidates(&machine, None).into_iter().filter_map(last).collect();
        assert_eq!(
            fixes,
            [
                Fix::AddClippy("stable".into()),
                Fix::AddClippy(PINS.rustc.into()),
                Fix::InstallDistributionClippy
            ]
        );
    }

    #[test]
    fn an_old_distribution_compiler_is_upgraded_not_used() {
        let machine = Machine {
            distribution: compiler("reuse-ebpf", "19.1.7", true),
            distribution_linked: true,
            has_apt: true,
            ..Machine::default()
        };
        let all = candidates(&machine, Some(Origin::Distribution));
        assert_eq!(all[0].fixes, [Fix::InstallDistribution]);
    }
}
