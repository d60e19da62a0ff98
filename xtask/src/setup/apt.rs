//! The distribution's package manager: installs packages, or fetches and unpacks one without installing it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    privilege,
    process::{find, output, run},
    setup::Step,
};

/// apt as set-up uses it; refreshes the package lists at most once, and only when something is to be fetched.
#[derive(Debug)]
pub(crate) struct Apt {
    refreshed: bool,
}

impl Apt {
    /// An apt whose lists may be stale or absent.
    pub(crate) fn new() -> Self {
        Self { refreshed: false }
    }

    /// Whether this machine has apt at all.
    pub(crate) fn is_available(&self) -> bool {
        find("apt-get").is_some() && find("dpkg").is_some()
    }

    /// Refreshes the package lists unless this was done before. A failure is only said: the lists that are there may do.
    pub(crate) fn refresh(&mut self) {
        if !self.refreshed {
            self.refreshed = true;
            let update = privilege::as_root("apt-get").and_then(|mut apt| run(apt.args(["-qq", "update"])));
            if let Err(error) = update {
                eprintln!("xtask: the package lists stay as they are: {error:#}");
            }
        }
    }

    fn install(&mut self, packages: &[&str]) -> Result<()> {
        self.refresh();
        let mut command = privilege::as_root("env")?;
        command.args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-qq",
            "install",
            "--no-install-recommends",
        ]);
        run(command.arg("-y").args(packages))
    }

    /// Puts the content of a package into the folder `into`, which appears only once it is complete. Nothing is
    /// registered, configured or started.
    ///
    /// # Errors
    /// If the package cannot be fetched or unpacked.
    pub(crate) fn unpack(&mut self, package: &str, into: &Path) -> Result<()> {
        self.refresh();
        let mut folder = into.as_os_str().to_owned();
        folder.push(".partial");
        let folder = PathBuf::from(folder);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut download = Command::new("apt-get");
        if privilege::is_root() {
            // apt's own user may not write into the cache of this one.
            download.args(["-o", "APT::Sandbox::User=root"]);
        }
        run(download.args(["-qq", "download", package]).current_dir(&folder))?;
        let archive = fs::read_dir(&folder)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt-get download {package} left no .deb"))?;
        run(Command::new("dpkg").arg("-x").arg(&archive).arg(&folder))?;
        fs::remove_file(&archive)?;
        if into.exists() {
            fs::remove_dir_all(into).with_context(|| format!("cannot replace {}", into.display()))?;
        }
        fs::rename(&folder, into).with_context(|| format!("cannot make {}", into.display()))
    }

    /// The names of all packages that start with `prefix`, as far as the lists know.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        output(Command::new("apt-cache").args(["pkgnames", prefix]))
            .map(|names| names.lines().map(str::to_owned).collect())
            .unwrap_or_default()
    }
}

/// A step that installs packages.
pub(crate) fn install_step(packages: Vec<&'static str>, why: String) -> Step {
    let sudo = if privilege::is_root() { "" } else { "sudo " };
    let names = packages.join(" ");
    let shown = format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {names}");
    Step::new(packages.join(", "), why, shown, move |apt| apt.install(&packages))
}

/// A step that unpacks a package into the cache without installing it.
pub(crate) fn unpack_step(package: &'static str, why: String, into: &Path) -> Step {
    let shown = format!("apt-get download {package} && dpkg -x {package}_*.deb {}", into.display());
    let into = into.to_path_buf();
    Step::new(format!("{package} (unpacked, not installed)"), why, shown, move |apt| {
        apt.unpack(package, &into)
    })
}
