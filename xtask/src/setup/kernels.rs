//! Which kernels are booted, and their packages: pinned, or the newest of the series once the archive drops the pinned.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    setup::{Apt, Step},
    workspace::Workspace,
};

/// A kernel series and how its packages are called.
#[derive(Debug)]
pub(crate) struct Series {
    /// Such as `6.1`.
    pub(crate) name: &'static str,
    prefix: &'static str,
    suffix: &'static str,
    pinned: &'static str,
    why: &'static str,
}

/// Every series, oldest first.
pub(crate) const SERIES: &[Series] = &[
    Series {
        name: "6.1",
        prefix: "linux-image-6.1.",
        suffix: "-cloud-amd64-unsigned",
        pinned: "linux-image-6.1.0-56-cloud-amd64-unsigned",
        why: "the oldest supported kernel: no sk_data_ready tracepoint, no second bind table",
    },
    Series {
        name: "6.12",
        prefix: "linux-image-6.12.",
        suffix: "+deb12-cloud-amd64-unsigned",
        pinned: "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
        why: "a kernel with every feature, and fentry, kprobes and LSM not locked",
    },
];

/// A kernel on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Name of its package.
    pub(crate) package: String,
    /// The compressed image to boot.
    pub(crate) image: PathBuf,
}

/// The steps that fetch what no earlier run has fetched.
pub(crate) fn missing(workspace: &Workspace, apt: &Apt) -> Vec<Step> {
    if !apt.is_available() || std::env::consts::ARCH != "x86_64" {
        return Vec::new();
    }
    SERIES
        .iter()
        .filter(|series| cached(workspace, series).is_none())
        .map(|series| step(workspace, series))
        .collect()
}

fn step(workspace: &Workspace, series: &'static Series) -> Step {
    let folder = folder(workspace);
    let shown = format!("apt-get download {0} && dpkg -x {0}_*.deb {1}/{0}", series.pinned, folder.display());
    let what = format!("Linux {} (unpacked, not installed)", series.name);
    Step::new(what, series.why.into(), shown, move |apt| {
        apt.refresh();
        let available = apt.names(series.prefix);
        let package = series.choose(&available).context("the archive has no kernel of this series")?;
        if package != series.pinned {
            eprintln!("xtask: {} is no longer in the archive; taking {package}", series.pinned);
        }
        let into = folder.join(package);
        apt.unpack(package, &into)?;
        keep_boot_only(&into)
    })
}

/// The cached kernel of the series: the pinned one if it is there, else the newest.
pub(crate) fn cached(workspace: &Workspace, series: &Series) -> Option<Kernel> {
    let folder = folder(workspace);
    let names: Vec<String> = fs::read_dir(&folder)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| image(&folder.join(name)).is_some())
        .collect();
    let package = series.choose(&names)?.to_owned();
    let image = image(&folder.join(&package))?;
    Some(Kernel { package, image })
}

impl Series {
    /// The pinned package if it is among the available, else the newest of the series.
    fn choose<'a>(&self, available: &'a [String]) -> Option<&'a str> {
        let ours = |name: &&String| name.starts_with(self.prefix) && name.ends_with(self.suffix);
        available
            .iter()
            .filter(ours)
            .max_by_key(|name| (name.as_str() == self.pinned, numbers(name)))
            .map(String::as_str)
    }
}

/// The numbers in a name, for comparing versions: 6.12.9 is older than 6.12.117.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The modules are never loaded: loopback, IPv6 and MPTCP are built in.
fn keep_boot_only(package: &Path) -> Result<()> {
    for entry in fs::read_dir(package)?.flatten() {
        if entry.file_name() != "boot" {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn image(package: &Path) -> Option<PathBuf> {
    let mut boot = fs::read_dir(package.join("boot")).ok()?.flatten();
    boot.find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-")).map(|entry| entry.path())
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.cache.join("kernels")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_pinned_package_wins_over_a_newer_one() {
        let available = names(&["linux-image-6.1.0-99-cloud-amd64-unsigned", SERIES[0].pinned]);
        assert_eq!(SERIES[0].choose(&available), Some(SERIES[0].pinned));
    }

    #[test]
    fn without_the_pinned_one_the_newest_of_the_series_by_number_is_taken() {
        let available = names(&[
            "linux-image-6.12.9+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.130+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.131+deb12-cloud-amd64-dbg",
            "linux-image-6.12.132+deb13-cloud-amd64-unsigned",
            "linux-image-6.1.0-99-cloud-amd64-unsigned",
        ]);
        assert_eq!(SERIES[1].choose(&available), Some("linux-image-6.12.130+deb12-cloud-amd64-unsigned"));
        assert_eq!(SERIES[1].choose(&[]), None);
    }

    #[test]
    fn the_pins_belong_to_their_series() {
        for series in SERIES {
            assert_eq!(series.choose(&names(&[series.pinned])), Some(series.pinned));
        }
    }
}
