//! The configuration file of a running daemon: its policy is read anew when asked for, its flags are compared.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use reuse_model::signal::Policy;

use crate::{
    cli,
    policy::{self, PolicyError},
};

/// Values of flags by name.
pub type Flags = BTreeMap<String, Vec<OsString>>;

/// The file, and the flags that are in force.
#[derive(Debug)]
pub struct ConfigFile {
    /// Where it is
    pub path: PathBuf,
    in_force: Flags,
}

/// What the file says now.
#[derive(Debug)]
pub struct Reloaded {
    /// The policy
    pub policy: Policy,
    /// Flags whose values are not those in force
    pub need_restart: Vec<String>,
}

/// Why the file cannot be in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Of its flags; a sentence
    #[error("{0}")]
    Flags(String),
    /// Of its policy
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl ConfigFile {
    /// The file at `path`, which the process was started with, and its policy.
    ///
    /// # Errors
    /// It is not valid.
    pub fn of_process(path: PathBuf) -> Result<(Self, Policy), ReloadError> {
        let in_force = cli::flags_of_process().map_err(ReloadError::Flags)?;
        let policy = policy::read(&path)?;
        Ok((Self { path, in_force }, policy))
    }

    /// Reads it again.
    ///
    /// # Errors
    /// It is not valid any more.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        // First: of a text that is no TOML it says what is wrong in one line.
        let policy = policy::read(&self.path)?;
        let now = cli::flags_of_process().map_err(ReloadError::Flags)?;
        Ok(Reloaded { policy, need_restart: differing(&self.in_force, &now) })
    }
}

fn differing(before: &Flags, now: &Flags) -> Vec<String> {
    now.iter()
        .filter(|(name, values)| before.get(*name) != Some(values))
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_differ_are_named() {
        let flags = |events: &str| {
            let values = [("events", events), ("socket", "/run/a")];
            values.map(|(name, value)| (name.to_owned(), vec![OsString::from(value)])).into()
        };
        assert_eq!(differing(&flags("json"), &flags("json")), [""; 0]);
        assert_eq!(differing(&flags("json"), &flags("text")), ["events"]);
    }
}
