//! The distribution's packages, each with its reason.
//!
//! A package counts as present when the program it brings is found, whoever installed it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    process,
    setup::{Apt, Step, apt, step::Failure},
    workspace::Workspace,
};

/// What set-up is asked to make possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The eBPF object and the daemon.
    Build,
    /// The tests on this machine's kernel.
    Test,
    /// The tests on other kernels.
    Vm,
    /// Formatting and lints.
    Lint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Install,
    /// Only its programs are wanted, not its service or its user.
    Unpack,
}

#[derive(Debug)]
enum Brings {
    Program(&'static str),
    /// A file the C compiler finds by this name.
    LinkerInput(&'static str),
}

#[derive(Debug)]
struct Package {
    name: &'static str,
    purpose: Purpose,
    brings: Brings,
    delivery: Delivery,
    why: &'static str,
    without_it: Failure,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "gcc",
        purpose: Purpose::Build,
        brings: Brings::Program("cc"),
        delivery: Delivery::Install,
        why: "rustc links with it",
        without_it: Failure::Ends,
    },
    Package {
        name: "libc6-dev",
        purpose: Purpose::Build,
        brings: Brings::LinkerInput("libc.a"),
        delivery: Delivery::Install,
        why: "the static C library: one daemon binary for every kernel and distribution",
        without_it: Failure::Ends,
    },
    Package {
        name: "iproute2",
        purpose: Purpose::Test,
        brings: Brings::Program("ip"),
        delivery: Delivery::Install,
        why: "network namespaces of the end-to-end tests",
        without_it: Failure::Ends,
    },
    Package {
        name: "python3",
        purpose: Purpose::Test,
        brings: Brings::Program("python3"),
        delivery: Delivery::Install,
        why: "programs other than the tests themselves that hold sockets",
        without_it: Failure::Ends,
    },
    Package {
        name: "prometheus",
        purpose: Purpose::Test,
        brings: Brings::Program("promtool"),
        delivery: Delivery::Unpack,
        why: "checks the metrics, the alert rules and every dashboard query",
        without_it: Failure::IsNoticedLater,
    },
    Package {
        name: "qemu-system-x86",
        purpose: Purpose::Vm,
        brings: Brings::Program("qemu-system-x86_64"),
        delivery: Delivery::Install,
        why: "boots the other kernels",
        without_it: Failure::IsNoticedLater,
    },
];

/// The steps for the packages that the purposes need and this machine lacks.
pub(crate) fn missing(workspace: &Workspace, purposes: &[Purpose], apt: &Apt) -> Vec<Step> {
    let wanted = PACKAGES.iter().filter(|package| purposes.contains(&package.purpose));
    let absent: Vec<&Package> = wanted.filter(|package| !is_present(workspace, package)).collect();
    if !apt.is_available() {
        return absent.into_iter().map(by_hand).collect();
    }
    absent
        .into_iter()
        .map(|Package { name, delivery, why, without_it, .. }| {
            let step = match delivery {
                Delivery::Install => apt::install_step(vec![name], (*why).into()),
                Delivery::Unpack => apt::unpack_step(name, (*why).into(), &folder(workspace, name)),
            };
            step.on_failure(*without_it)
        })
        .collect()
}

/// The folders with programs of unpacked packages, for `PATH`.
pub(crate) fn unpacked_programs(workspace: &Workspace) -> Vec<PathBuf> {
    PACKAGES
        .iter()
        .filter(|package| package.delivery == Delivery::Unpack)
        .map(|package| folder(workspace, package.name).join("usr/bin"))
        .filter(|folder| folder.is_dir())
        .collect()
}

fn folder(workspace: &Workspace, package: &str) -> PathBuf {
    workspace.cache.join("packages").join(package)
}

fn is_present(workspace: &Workspace, package: &Package) -> bool {
    match package.brings {
        Brings::Program(program) => {
            process::find(program).is_some()
                || folder(workspace, package.name).join("usr/bin").join(program).is_file()
        }
        Brings::LinkerInput(file) => {
            // The compiler answers with the bare name when it finds nothing.
            let answer = process::output(Command::new("cc").arg(format!("-print-file-name={file}")));
            answer.is_ok_and(|path| Path::new(path.trim_end()).is_absolute())
        }
    }
}

fn by_hand(package: &Package) -> Step {
    let Package { name, why, without_it, .. } = package;
    let shown = format!("your package manager; Debian calls it {name}");
    let message = format!("this machine has no apt: install what Debian calls {name}");
    Step::new((*name).into(), (*why).into(), shown, move |_| anyhow::bail!(message)).on_failure(*without_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_package_once() {
        let mut names: Vec<_> = PACKAGES.iter().map(|package| package.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PACKAGES.len());
    }

    #[test]
    fn a_file_the_compiler_knows_is_present_and_another_is_not() {
        let workspace = Workspace { root: "/".into(), target: "/".into(), cache: "/nonexistent".into() };
        let package = |brings| Package {
            name: "p",
            purpose: Purpose::Build,
            brings,
            delivery: Delivery::Install,
            why: "",
            without_it: Failure::Ends,
        };
        assert!(is_present(&workspace, &package(Brings::LinkerInput("crt1.o"))));
        assert!(!is_present(&workspace, &package(Brings::LinkerInput("no-such-file.a"))));
        assert!(!is_present(&workspace, &package(Brings::Program("no-such-program"))));
    }
}
