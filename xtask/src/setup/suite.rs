//! A suite of Debian's that the machine's own apt does not know: apt is given a configuration by which its sources, lists
//! and caches are in a folder of ours, so that nothing of the machine's changes and nobody has to be root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{process::output, workspace::Workspace};

/// With which the suite's index is verified, whatever the machine trusts.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Which mirror is asked where the machine's own apt names none of Debian's.
const MIRROR: &str = "http://deb.debian.org/debian/";

/// A suite of Debian's archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suite {
    /// Such as `trixie-backports`.
    pub(crate) name: &'static str,
    /// The address of the archive.
    pub(crate) mirror: String,
    folder: PathBuf,
}

impl Suite {
    /// The suite, at the mirror that the machine's apt asks for Debian's packages, if it asks one.
    pub(crate) fn new(workspace: &Workspace, name: &'static str) -> Self {
        let known = output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Label: Debian",
        ]));
        let mirror = known.ok().and_then(|addresses| addresses.lines().next().map(str::to_owned));
        let folder = workspace.cache.join("apt").join(name);
        Self { name, mirror: mirror.unwrap_or_else(|| MIRROR.to_owned()), folder }
    }

    /// The configuration with which apt asks this suite.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    /// Writes the configuration, the source that it names and the folders that apt wants to find.
    ///
    /// # Errors
    /// If the suite's index could not be verified, or a file cannot be written.
    pub(crate) fn configure(&self) -> Result<()> {
        ensure!(
            Path::new(KEYRING).is_file(),
            "{KEYRING} is not there to verify {} with: install what Debian calls debian-archive-keyring",
            self.name
        );
        for folder in ["lists/partial", "cache/archives/partial"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let files =
            [(self.folder.join("debian.sources"), self.source()), (self.configuration(), self.directives())];
        for (path, text) in files {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn source(&self) -> String {
        let Self { name, mirror, .. } = self;
        format!(
            "Types: deb\nURIs: {mirror}\nSuites: {name}\nComponents: main\nArchitectures: amd64\nSigned-By: {KEYRING}\n"
        )
    }

    /// What the machine has installed and prefers says nothing about packages that are only unpacked. A list that could not
    /// be had is an error: apt by itself only warns.
    fn directives(&self) -> String {
        let folder = self.folder.display();
        format!(
            "Dir::Etc::SourceList \"{folder}/debian.sources\";\n\
             Dir::Etc::SourceParts \"/dev/null\";\n\
             Dir::Etc::Preferences \"/dev/null\";\n\
             Dir::Etc::PreferencesParts \"/dev/null\";\n\
             Dir::State::Lists \"{folder}/lists/\";\n\
             Dir::State::status \"/dev/null\";\n\
             Dir::Cache \"{folder}/cache/\";\n\
             Acquire::Languages \"none\";\n\
             APT::Update::Error-Mode \"any\";\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn suite(folder: PathBuf) -> Suite {
        Suite { name: "trixie-backports", mirror: "http://mirror.example/debian/".into(), folder }
    }

    #[test]
    fn the_source_is_the_suite_alone_and_is_verified() {
        let source = suite("/f".into()).source();
        for line in [
            "URIs: http://mirror.example/debian/",
            "Suites: trixie-backports",
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
        ] {
            assert!(source.lines().any(|said| said == line), "{line}: {source}");
        }
    }

    /// Told by apt itself, where there is one: what it would read and write is below the folder.
    #[test]
    fn apt_reads_and_writes_in_the_folder_alone() {
        if crate::process::find("apt-config").is_none() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            // Past the harness' capture; nobody to tell if standard error is closed.
            let _ = writeln!(std::io::stderr(), "\nSKIP {name}: there is no apt-config");
            return;
        }
        let folder = std::env::temp_dir().join(format!("xtask-suite-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let suite = suite(folder.clone());
        fs::write(suite.configuration(), suite.directives()).unwrap();
        let places =
            ["Dir::Etc::SourceList/f", "Dir::State::Lists/d", "Dir::Cache/d", "Dir::Cache::Archives/d"];
        let asked = places.iter().flat_map(|place| ["PLACE", place]);
        let mut apt = Command::new("apt-config");
        let said = output(apt.arg("-c").arg(suite.configuration()).arg("shell").args(asked)).unwrap();
        assert_eq!(said.lines().count(), places.len(), "{said}");
        for place in said.lines() {
            let path = place.trim_start_matches("PLACE=").trim_matches('\'');
            assert!(Path::new(path).starts_with(&folder), "{said}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
