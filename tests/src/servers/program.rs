//! Finding packaged programs, also those that were unpacked without being installed.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::skip;

/// Where servers are that no user starts by hand, and that are therefore not in everybody's `PATH`.
const FOR_ADMINISTRATORS: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];

/// A program of a package.
#[derive(Debug, Clone)]
pub struct Program(PathBuf);

impl Program {
    /// Finds all of these, or `None` after the calling test was skipped aloud because one is missing.
    #[must_use]
    pub fn all<const N: usize>(names: [&str; N]) -> Option<[Self; N]> {
        Self::available(names).map_err(|why| skip::skip(&why)).ok()
    }

    /// Finds all of these.
    ///
    /// # Errors
    /// Which are missing, in words.
    pub fn available<const N: usize>(names: [&str; N]) -> Result<[Self; N], String> {
        let found: Vec<Self> = names.iter().filter_map(|name| Self::find(name)).collect();
        <[Self; N]>::try_from(found).map_err(|_| {
            let missing: Vec<&str> = names.into_iter().filter(|name| Self::find(name).is_none()).collect();
            format!("no {} on this machine (`cargo xtask setup` gets it)", missing.join(", no "))
        })
    }

    fn find(name: &str) -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(FOR_ADMINISTRATORS.map(PathBuf::from));
        folders.map(|folder| folder.join(name)).find(|program| program.is_file()).map(Self)
    }

    /// The program, not run yet. One that was unpacked finds the libraries that were unpacked with it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        // <root>/usr/sbin/<program>
        if let Some(root) = self.0.ancestors().nth(3).filter(|root| *root != Path::new("/"))
            && let Some(libraries) = libraries(root)
        {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

/// The folders with libraries below the root of unpacked packages: one for each architecture, in general one.
fn libraries(root: &Path) -> Option<OsString> {
    let folders = fs::read_dir(root.join("usr/lib")).ok()?.flatten().map(|entry| entry.path());
    let folders = folders.filter(|folder| folder.to_string_lossy().ends_with("-linux-gnu"));
    env::join_paths(folders).ok()
}
