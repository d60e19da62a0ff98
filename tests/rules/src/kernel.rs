//! Which rules the running kernel has.

use std::path::Path;

use anyhow::Result;
use reuse_daemon::kernel::{
    btf::{self, Btf},
    rules,
};
use reuse_model::rulebook::Kernel;

/// The rules of the running kernel, as the daemon takes them.
///
/// # Errors
/// Where its types cannot be read.
pub(crate) fn running(path: &Path) -> Result<Kernel> {
    let bytes = btf::read_file(path)?;
    let btf = Btf::parse(&bytes).map_err(|reason| anyhow::anyhow!("{}: {reason}", path.display()))?;
    Ok(rules::of_running_kernel(&btf))
}
