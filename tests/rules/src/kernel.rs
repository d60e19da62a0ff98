//! Which kernel runs, and by which rules.

use std::ffi::OsStr;

use nix::sys::utsname::{UtsName, uname};
use reuse_model::rulebook::Kernel;

/// The running kernel by its name, and the rules it is taken to have.
pub(crate) fn introduce(kernel: &Kernel) -> String {
    let name = uname().ok();
    let part = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let release = part(name.as_ref().map(UtsName::release));
    let version = part(name.as_ref().map(UtsName::version));
    let rules: Vec<_> = kernel.differences().map(|difference| difference.name).collect();
    format!("Linux {release} ({version}), taken to have {}", rules.join(", "))
}
