//! Test.
use crate::{cli::TestArgs, workspace::Workspace};
pub(crate) fn command(_w: &Workspace, _a: &TestArgs) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("later")
}
