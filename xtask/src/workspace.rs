//! Where things are: the workspace, cargo's target folder, and the cache that survives a clean clone.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::process;

/// Folders every command works with.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, as configured.
    pub(crate) target: PathBuf,
    /// Toolchain parts, kernels and programs fetched once per user.
    pub(crate) cache: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo, from the folder of this very package, so that the current folder does not matter.
    ///
    /// # Errors
    /// If cargo cannot be asked, or neither `XDG_CACHE_HOME` nor `HOME` is set.
    pub(crate) fn find() -> Result<Self> {
        let here = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let metadata = process::output(
            Command::new("cargo").args(["metadata", "--format-version=1", "--no-deps"]).current_dir(&here),
        )?;
        let Metadata { workspace_root, target_directory } =
            serde_json::from_str(&metadata).context("`cargo metadata` printed something unknown")?;
        let cache = cache_home(env::var_os("XDG_CACHE_HOME").as_deref(), env::var_os("HOME").as_deref())
            .context("set HOME or XDG_CACHE_HOME: the eBPF linker and the kernels are cached there")?
            .join("reuse-daemon");
        Ok(Self { root: workspace_root, target: target_directory, cache })
    }

    /// A cargo command in the workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.root);
        command
    }
}

fn cache_home(xdg: Option<&std::ffi::OsStr>, home: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    // The XDG base directory specification says to ignore a relative path.
    let xdg = xdg.map(Path::new).filter(|path| path.is_absolute());
    let home = home.map(Path::new).filter(|path| path.is_absolute());
    xdg.map(Path::to_path_buf).or_else(|| home.map(|home| home.join(".cache")))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn the_cache_follows_xdg_then_home() {
        let (xdg, home) = (Some(OsStr::new("/x")), Some(OsStr::new("/h")));
        assert_eq!(cache_home(xdg, home), Some("/x".into()));
        assert_eq!(cache_home(Some(OsStr::new("relative")), home), Some("/h/.cache".into()));
        assert_eq!(cache_home(None, home), Some("/h/.cache".into()));
        assert_eq!(cache_home(None, None), None);
    }
}
