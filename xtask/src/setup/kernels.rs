//! Which kernels are booted, and their packages: pinned, or the newest of the series once the archive drops the pinned.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    setup::{Apt, Step, apt::Extent, suite::Suite},
    workspace::Workspace,
};

/// A kernel series and how its packages are called.
#[derive(Debug)]
pub(crate) struct Series {
    /// Such as `6.1`.
    pub(crate) name: &'static str,
    /// The suite of Debian's that has it, where the machine's own sources are older.
    suite: Option<&'static str>,
    prefix: &'static str,
    suffix: &'static str,
    pinned: &'static str,
    /// How the name of the package with its modules begins, where the image is in one of its own, and how that one begins.
    modules_apart: Option<(&'static str, &'static str)>,
    why: &'static str,
}

/// Every series, oldest first.
pub(crate) const SERIES: &[Series] = &[
    Series {
        name: "6.1",
        suite: None,
        prefix: "linux-image-6.1.",
        suffix: "-cloud-amd64-unsigned",
        pinned: "linux-image-6.1.0-56-cloud-amd64-unsigned",
        modules_apart: None,
        why: "the oldest supported kernel: no sk_data_ready tracepoint, no second bind table",
    },
    Series {
        name: "6.12",
        suite: None,
        prefix: "linux-image-6.12.",
        suffix: "+deb12-cloud-amd64-unsigned",
        pinned: "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
        modules_apart: None,
        why: "a kernel with every feature, and fentry, kprobes and LSM not locked",
    },
    Series {
        name: "7.3",
        suite: Some("trixie-backports"),
        prefix: "linux-binary-7.3.",
        suffix: "+deb13-cloud-amd64",
        pinned: "linux-binary-7.3.4+deb13-cloud-amd64",
        modules_apart: Some(("linux-modules-", "linux-binary-")),
        why: "the newest kernel: what changed since 6.18",
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
    let suite = series.suite.map(|name| Suite::new(workspace, name));
    let packages = series.packages(series.pinned).join(" ");
    let into = folder.join(series.pinned);
    let unpack = format!("for deb in *.deb; do dpkg -x \"$deb\" {}; done", into.display());
    let (shown, from) = match &suite {
        None => (format!("apt-get download {packages} && {unpack}"), String::new()),
        Some(suite) => {
            let apt = format!("apt-get -c {}", suite.configuration().display());
            let shown = format!("{apt} update && {apt} download {packages} && {unpack}");
            (shown, format!(", of {} at {}", suite.name, suite.mirror))
        }
    };
    let what = format!("Linux {} (unpacked, not installed){from}", series.name);
    Step::new(what, series.why.into(), shown, move |apt| {
        let mut of_suite = suite.map(Apt::of);
        let apt = of_suite.as_mut().unwrap_or(apt);
        apt.refresh();
        let available = apt.names(series.prefix);
        let package = series.choose(&available).context("the archive has no kernel of this series")?;
        if package != series.pinned {
            eprintln!("xtask: {} is no longer in the archive; taking {package}", series.pinned);
        }
        let into = folder.join(package);
        apt.unpack(&series.packages(package), Extent::Alone, &into)?;
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

    /// The package of the image and, where that is another, the one with its modules.
    fn packages(&self, image: &str) -> Vec<String> {
        let modules = self.modules_apart.and_then(|(modules, prefix)| {
            image.strip_prefix(prefix).map(|version| format!("{modules}{version}"))
        });
        std::iter::once(image.to_owned()).chain(modules).collect()
    }
}

/// The numbers in a name, for comparing versions: 6.12.9 is older than 6.12.117.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Where packages have the modules, and newer ones the image beside them.
const IN_PACKAGES: [&str; 2] = ["lib/modules", "usr/lib/modules"];

/// Removes all but the image, which is left in `boot` as older packages have it, and the modules the machines load, which
/// are left side by side.
fn keep_what_is_booted(package: &Path) -> Result<()> {
    let (boot, kept) = (package.join("boot"), package.join(MODULES_FOLDER));
    for folder in [&boot, &kept] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let keep = |file: &Path, place: PathBuf| {
        fs::rename(file, place).with_context(|| format!("cannot keep {}", file.display()))
    };
    for modules in IN_PACKAGES.map(|folder| package.join(folder)) {
        for module in find_modules(&modules) {
            if let Some(name) = module.file_name() {
                keep(&module, kept.join(name))?;
            }
        }
        for release in fs::read_dir(&modules).into_iter().flatten().flatten() {
            let image = release.path().join("vmlinuz");
            if image.is_file() {
                keep(&image, boot.join(format!("vmlinuz-{}", release.file_name().to_string_lossy())))?;
            }
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
    fn modules_in_a_package_of_their_own_are_fetched_with_the_image() {
        let older = SERIES[0].pinned;
        assert_eq!(SERIES[0].packages(older), [older]);
        assert_eq!(
            SERIES[2].packages("linux-binary-7.3.9+deb13-cloud-amd64"),
            ["linux-binary-7.3.9+deb13-cloud-amd64", "linux-modules-7.3.9+deb13-cloud-amd64"]
        );
    }

    #[test]
    fn an_image_beside_its_modules_is_found_like_one_in_boot() {
        let folder = std::env::temp_dir().join(format!("xtask-kernels-{}", std::process::id()));
        let modules = folder.join("usr/lib/modules/7.3.9");
        fs::create_dir_all(modules.join("kernel/net")).unwrap();
        fs::write(modules.join("vmlinuz"), "").unwrap();
        assert!(parts(&folder).is_none());
        for module in MODULES.iter().chain(&["other"]) {
            fs::write(modules.join("kernel/net").join(format!("{module}.ko.xz")), "").unwrap();
        }
        keep_what_is_booted(&folder).unwrap();
        let (image, modules) = parts(&folder).unwrap();
        assert_eq!(image, folder.join("boot/vmlinuz-7.3.9"));
        assert_eq!(modules.len(), MODULES.len());
        assert_eq!(fs::read_dir(folder.join(MODULES_FOLDER)).unwrap().count(), MODULES.len());
        assert!(!folder.join("usr").exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_pins_belong_to_their_series() {
        for series in SERIES {
            assert_eq!(series.choose(&names(&[series.pinned])), Some(series.pinned));
        }
    }
}
