//! The distribution's packages: which are missing, and how each is brought.
//!
//! A package counts as present when the program it brings is found, whoever installed it.

mod table;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    process,
    setup::{
        Apt, Step,
        apt::{self, Extent},
        step::Failure,
    },
    workspace::Workspace,
};
use table::PACKAGES;

/// Where a package has its programs; those of servers are in the second.
const PROGRAMS: [&str; 2] = ["usr/bin", "usr/sbin"];

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
    /// The same with the libraries that this machine lacks for them.
    UnpackWithLibraries,
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

/// The steps for the packages that the purposes need and this machine lacks.
pub(crate) fn missing(workspace: &Workspace, purposes: &[Purpose], apt: &Apt) -> Vec<Step> {
    let wanted = PACKAGES.iter().filter(|package| purposes.contains(&package.purpose));
    let absent: Vec<&Package> = wanted.filter(|package| !is_present(workspace, package)).collect();
    if !apt.is_available() {
        return absent.into_iter().map(by_hand).collect();
    }
    absent
        .into_iter()
        .map(|package @ Package { name, delivery, why, without_it, .. }| {
            let step = match delivery {
                Delivery::Install => apt::install_step(vec![name], (*why).into()),
                Delivery::Unpack => unpack(workspace, package, Extent::Alone),
                Delivery::UnpackWithLibraries => unpack(workspace, package, Extent::WithWhatItLacks),
            };
            step.on_failure(*without_it)
        })
        .collect()
}

/// The folders with programs of unpacked packages, for `PATH`.
pub(crate) fn unpacked_programs(workspace: &Workspace) -> Vec<PathBuf> {
    PACKAGES
        .iter()
        .filter(|package| package.delivery != Delivery::Install)
        .flat_map(|package| PROGRAMS.map(|programs| folder(workspace, package.name).join(programs)))
        .filter(|folder| folder.is_dir())
        .collect()
}

fn unpack(workspace: &Workspace, package: &Package, extent: Extent) -> Step {
    apt::unpack_step(package.name, package.why.into(), &folder(workspace, package.name), extent)
}

fn folder(workspace: &Workspace, package: &str) -> PathBuf {
    workspace.cache.join("packages").join(package)
}

fn is_present(workspace: &Workspace, package: &Package) -> bool {
    match package.brings {
        Brings::Program(program) => {
            let unpacked = folder(workspace, package.name);
            // In the system's second place also where it is not in this user's PATH: the tests run as root.
            let places = [Path::new("/"), &unpacked];
            process::find(program).is_some()
                || places
                    .iter()
                    .any(|root| PROGRAMS.iter().any(|place| root.join(place).join(program).is_file()))
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
