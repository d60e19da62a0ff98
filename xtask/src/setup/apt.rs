//! The distribution's package manager: installs packages, or fetches and unpacks one without installing it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    privilege,
    process::{find, output, run},
    setup::{Step, suite::Suite},
};

/// How much of what a package needs is unpacked with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing: its programs bring all they need.
    Alone,
    /// What the machine lacks of it: libraries.
    WithWhatItLacks,
}

/// apt as set-up uses it; refreshes the package lists at most once, and only when something is to be fetched.
#[derive(Debug)]
pub(crate) struct Apt {
    refreshed: bool,
    /// The suite it asks instead of what the machine's sources name.
    suite: Option<Suite>,
}

impl Apt {
    /// An apt whose lists may be stale or absent.
    pub(crate) fn new() -> Self {
        Self { refreshed: false, suite: None }
    }

    /// One that asks a suite the machine's sources do not name. It installs nothing: it does not know what is installed.
    pub(crate) fn of(suite: Suite) -> Self {
        Self { refreshed: false, suite: Some(suite) }
    }

    /// Whether this machine has apt at all.
    pub(crate) fn is_available(&self) -> bool {
        find("apt-get").is_some() && find("dpkg").is_some()
    }

    /// Refreshes the package lists unless this was done before. A failure is only said: the lists that are there may do.
    pub(crate) fn refresh(&mut self) {
        if !self.refreshed {
            self.refreshed = true;
            let update = match &self.suite {
                None => privilege::as_root("apt-get").and_then(|mut apt| run(apt.args(["-qq", "update"]))),
                Some(suite) => {
                    suite.configure().and_then(|()| run(self.ask("apt-get").args(["-qq", "update"])))
                }
            };
            if let Err(error) = update {
                eprintln!("xtask: the package lists stay as they are: {error:#}");
            }
        }
    }

    /// A program of apt's that reads the lists, and writes to folders of this user alone.
    fn ask(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(suite) = &self.suite {
            command.arg("-c").arg(suite.configuration());
        }
        if program == "apt-get" && privilege::is_root() {
            // apt's own user may not write into the cache of this one.
            command.args(["-o", "APT::Sandbox::User=root"]);
        }
        command
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

    /// Puts the content of packages into the folder `into`, which appears only once it is complete. Nothing is registered,
    /// configured or started.
    ///
    /// # Errors
    /// If a package cannot be fetched or unpacked.
    pub(crate) fn unpack(&mut self, packages: &[String], extent: Extent, into: &Path) -> Result<()> {
        self.refresh();
        let mut folder = into.as_os_str().to_owned();
        folder.push(".partial");
        let folder = PathBuf::from(folder);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let packages = match extent {
            Extent::Alone => packages.to_vec(),
            Extent::WithWhatItLacks => self.lacking(packages)?,
        };
        run(self.ask("apt-get").args(["-qq", "download"]).args(&packages).current_dir(&folder))?;
        let archives: Vec<PathBuf> = fs::read_dir(&folder)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect();
        ensure!(!archives.is_empty(), "apt-get download {} left no .deb", packages.join(" "));
        for archive in archives {
            run(Command::new("dpkg").arg("-x").arg(&archive).arg(&folder))?;
            fs::remove_file(&archive)?;
        }
        if into.exists() {
            fs::remove_dir_all(into).with_context(|| format!("cannot replace {}", into.display()))?;
        }
        fs::rename(&folder, into).with_context(|| format!("cannot make {}", into.display()))
    }

    /// The names of all packages that start with `prefix`, as far as the lists know.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        output(self.ask("apt-cache").args(["pkgnames", prefix]))
            .map(|names| names.lines().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    /// The packages and whatever of their dependencies this machine lacks, as apt would install them.
    fn lacking(&self, wanted: &[String]) -> Result<Vec<String>> {
        let mut simulate = self.ask("apt-get");
        let said = output(simulate.args(["-qq", "-s", "install", "--no-install-recommends"]).args(wanted))?;
        let packages = installed_in(&said);
        for package in wanted {
            ensure!(packages.contains(package), "apt-get would not install {package}: {said}");
        }
        Ok(packages)
    }
}

/// A step that installs packages.
pub(crate) fn install_step(packages: Vec<&'static str>, why: String) -> Step {
    let sudo = if privilege::is_root() { "" } else { "sudo " };
    let names = packages.join(" ");
    let shown = format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {names}");
    Step::new(packages.join(", "), why, shown, move |apt| apt.install(&packages))
}

/// The packages that a simulated installation names: `Inst name (version ...)`.
fn installed_in(said: &str) -> Vec<String> {
    let lines = said.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// A step that unpacks a package into the cache without installing it.
pub(crate) fn unpack_step(package: &'static str, why: String, into: &Path, extent: Extent) -> Step {
    let packages = match extent {
        Extent::Alone => package.to_owned(),
        Extent::WithWhatItLacks => format!(
            "$(apt-get -s install --no-install-recommends {package} | sed -n 's/^Inst \\([^ ]*\\).*/\\1/p')"
        ),
    };
    let folder = into.display();
    let shown =
        format!("apt-get download {packages} && for deb in *.deb; do dpkg -x \"$deb\" {folder}; done");
    let into = into.to_path_buf();
    Step::new(format!("{package} (unpacked, not installed)"), why, shown, move |apt| {
        apt.unpack(&[package.to_owned()], extent, &into)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_names_what_would_be_installed() {
        let said = "Inst libfirst (1.2-3 Debian:12/stable [amd64])\n\
                    Inst server (2:4.5 Debian:12/stable [amd64])\n\
                    Conf libfirst (1.2-3 Debian:12/stable [amd64])\n";
        assert_eq!(installed_in(said), ["libfirst", "server"]);
    }
}
