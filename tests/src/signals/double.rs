//! Another executable that does what actors do.

use std::{fs, path::PathBuf, process::Command, sync::Mutex};

use anyhow::{Context, Result, bail};

use crate::{actor::Template, local, scratch::Scratch};

/// A copy of python3 under another name: to the daemon another program, and so another service.
#[derive(Debug)]
pub struct Double {
    path: PathBuf,
    home: String,
    template: Mutex<Option<Template>>,
    _scratch: Scratch,
}

impl Double {
    /// Makes the copy.
    ///
    /// # Errors
    /// When there is no python3, or it cannot be copied.
    pub fn new(name: &str) -> Result<Self> {
        let asked = ["-S", "-c", "import sys; print(sys.executable); print(sys.base_prefix)"];
        let said = local::run(Command::new("python3").args(asked))?;
        let mut lines = said.stdout.lines();
        let (Some(original), Some(home)) = (lines.next(), lines.next()) else {
            bail!("where python3 is, and its modules: {said:?}");
        };
        let scratch = Scratch::new(name)?;
        let path = scratch.path().join(name);
        fs::copy(original, &path).with_context(|| format!("copying {original}"))?;
        Ok(Self { path, home: home.to_owned(), template: Mutex::default(), _scratch: scratch })
    }

    /// What actors in it are copies of, once there is one.
    pub(super) fn template(&self) -> &Mutex<Option<Template>> {
        &self.template
    }

    /// The copy, not run yet.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env("PYTHONHOME", &self.home);
        command
    }
}
