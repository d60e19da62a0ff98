//! The operator's policy on signals: the tables `[[policy.expect]]` and `[[policy.severity]]` of the configuration file.

mod document;
mod entry;
pub mod suggestion;
#[cfg(test)]
mod tests;
mod value;

use std::{
    fs,
    path::{Path, PathBuf},
};

use reuse_model::signal::Policy;

pub use document::{Wrong, line_of, parse};

use crate::owner::users;

/// The table of the configuration file that is no flag.
pub const TABLE: &str = "policy";
/// Where users have their names.
const PASSWD: &str = "/etc/passwd";

/// Why a file is no policy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}{}", path.display(), wrong.line.map(|line| format!("{line}: ")).unwrap_or_else(|| " ".to_owned()), wrong.reason)]
pub struct PolicyError {
    /// The file
    pub path: PathBuf,
    /// What is wrong, and where in it
    pub wrong: Wrong,
}

/// Reads the policy of a configuration file; the other settings of the file are passed over.
///
/// # Errors
/// The file cannot be read, or holds something that is no policy.
pub fn read(path: &Path) -> Result<Policy, PolicyError> {
    let refuse = |wrong| PolicyError { path: path.to_owned(), wrong };
    let text = fs::read_to_string(path).map_err(|error| refuse(Wrong::nowhere(&error)))?;
    let passwd = fs::read(PASSWD).unwrap_or_default();
    parse(&text, &|name| users::uid_of(&passwd, name)).map_err(refuse)
}
