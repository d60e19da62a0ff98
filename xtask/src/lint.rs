//! Lints.
use crate::{cli::LintArgs, workspace::Workspace};
pub(crate) fn command(_w: &Workspace, _a: &LintArgs) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("later")
}
