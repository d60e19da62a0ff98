//! Vm.
use crate::{
    cli::VmArgs,
    setup::{Apt, Step},
    workspace::Workspace,
};
pub(crate) fn command(_w: &Workspace, _a: &VmArgs) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("later")
}
pub(crate) fn missing_kernels(_w: &Workspace, _a: &Apt) -> Vec<Step> {
    vec![]
}
