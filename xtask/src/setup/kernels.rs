//! Which kernels are booted, and their packages: pinned, or the newest of the series once the archive drops the pinned.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    setup::{Apt, Step, apt::Extent},
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

/// The modules the machines load, each after those it needs (`depends=` in `.modinfo`): virtual Ethernet and VXLAN
/// devices, whose socket is the kernel's own, and the socket diagnostics that everyone may ask. Loopback, IPv6 and MPTCP
/// are built in.
const MODULES: &[&str] =
    &["inet_diag", "tcp_diag", "udp_diag", "veth", "udp_tunnel", "ip6_udp_tunnel", "vxlan", "dummy"];

/// Where they are left in an unpacked package.
const MODULES_FOLDER: &str = "modules";

/// A kernel on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Name of its package.
    pub(crate) package: String,
    /// The compressed image to boot.
    pub(crate) image: PathBuf,
    /// Its modules in the order in which they can be loaded.
    pub(crate) modules: Vec<PathBuf>,
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
        apt.unpack(package, Extent::Alone, &into)?;
        keep_what_is_booted(&into)
    })
}

/// The cached kernel of the series: the pinned one if it is there, else the newest.
pub(crate) fn cached(workspace: &Workspace, series: &Series) -> Option<Kernel> {
    let folder = folder(workspace);
    let names: Vec<String> = fs::read_dir(&folder)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| parts(&folder.join(name)).is_some())
        .collect();
    let package = series.choose(&names)?.to_owned();
    let (image, modules) = parts(&folder.join(&package))?;
    Some(Kernel { package, image, modules })
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

/// Removes all but what is in `boot` and the modules the machines load, which are left side by side.
fn keep_what_is_booted(package: &Path) -> Result<()> {
    let kept = package.join(MODULES_FOLDER);
    fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    for module in find_modules(&package.join("lib/modules")) {
        if let Some(name) = module.file_name() {
            fs::rename(&module, kept.join(name))
                .with_context(|| format!("cannot keep {}", module.display()))?;
        }
    }
    for entry in fs::read_dir(package)?.flatten() {
        if entry.file_name() != "boot" && entry.file_name() != MODULES_FOLDER {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Every module file below a folder that is to be kept.
fn find_modules(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { find_modules(&path) } else { vec![path] }
        })
        .filter(|path| MODULES.iter().any(|name| is_module(path, name)))
        .collect()
}

/// `name.ko`, or compressed: `name.ko.xz`.
fn is_module(path: &Path, name: &str) -> bool {
    let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
    file.strip_prefix(name).is_some_and(|rest| rest == ".ko" || rest.starts_with(".ko."))
}

/// The image and the modules of an unpacked package, if all are there.
fn parts(package: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    let mut boot = fs::read_dir(package.join("boot")).ok()?.flatten();
    let image = boot.find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))?.path();
    let kept: Vec<PathBuf> =
        fs::read_dir(package.join(MODULES_FOLDER)).ok()?.flatten().map(|entry| entry.path()).collect();
    let modules = MODULES.iter().map(|name| kept.iter().find(|path| is_module(path, name)).cloned());
    Some((image, modules.collect::<Option<_>>()?))
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
    fn a_module_is_known_by_its_name_whether_compressed_or_not() {
        assert!(is_module(Path::new("/lib/x/veth.ko"), "veth"));
        assert!(is_module(Path::new("/lib/x/veth.ko.xz"), "veth"));
        assert!(!is_module(Path::new("/lib/x/ip6_udp_tunnel.ko"), "udp_tunnel"));
        assert!(!is_module(Path::new("/lib/x/veth_more.ko"), "veth"));
    }

    #[test]
    fn the_pins_belong_to_their_series() {
        for series in SERIES {
            assert_eq!(series.choose(&names(&[series.pinned])), Some(series.pinned));
        }
    }
}
