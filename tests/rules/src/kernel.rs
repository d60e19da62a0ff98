//! Which kernel runs, and by which rules.

use std::{ffi::OsStr, path::Path};

use anyhow::Result;
use nix::sys::utsname::{UtsName, uname};
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

/// The running kernel by its name, and the rules it is taken to have.
pub(crate) fn introduce(kernel: &Kernel) -> String {
    let name = uname().ok();
    let part = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let release = part(name.as_ref().map(UtsName::release));
    let version = part(name.as_ref().map(UtsName::version));
    let rules: Vec<_> = kernel.differences().map(|difference| difference.name).collect();
    format!("Linux {release} ({version}), taken to have {}", rules.join(", "))
}
