//! Servers of our own, as Python programs.

use std::{fs, path::PathBuf, process::Command, sync::LazyLock};

use anyhow::{Context as _, Result};

use crate::scratch::Scratch;

/// The interpreter itself: what `PATH` has may be a script that looks for it, which a server is not started by.
fn interpreter() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| {
        let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let said = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
        match said.trim() {
            "" => "python3".to_owned(),
            path => path.to_owned(),
        }
    });
    &PATH
}

/// A program in a file of its own, so that it can start itself anew.
#[derive(Debug)]
pub(super) struct Script {
    path: PathBuf,
    scratch: Scratch,
}

impl Script {
    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn new(name: &str, text: &str) -> Result<Self> {
        let scratch = Scratch::new(&format!("quiet-{name}"))?;
        let path = scratch.path().join(format!("{name}.py"));
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path, scratch })
    }

    /// The program, not run yet.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(interpreter());
        // Without the modules of its site, which a server has no use for, it starts in half the time.
        command.arg("-SE").arg(&self.path);
        command
    }

    /// A file of this name beside it.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}
