//! Another executable that does what actors do.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{actor::Actor, scratch::Scratch};

/// A copy of python3 under another name: to the daemon another program, and so another service.
#[derive(Debug)]
pub struct Double {
    path: PathBuf,
    home: String,
    _scratch: Scratch,
}

impl Double {
    /// Makes the copy.
    ///
    /// # Errors
    /// When there is no python3, or it cannot be copied.
    pub fn new(name: &str) -> Result<Self> {
        let mut actor = Actor::start("rt-original")?;
        let home = actor.run("answer = sys.base_prefix")?;
        let home = home.as_str().context("where python3 has its modules")?.to_owned();
        let scratch = Scratch::new(name)?;
        let path = scratch.path().join(name);
        fs::copy(format!("/proc/{}/exe", actor.pid()), &path).context("copying python3")?;
        Ok(Self { path, home, _scratch: scratch })
    }

    /// The copy, not run yet.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env("PYTHONHOME", &self.home);
        command
    }
}
