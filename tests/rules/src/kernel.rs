//! Which rules the running kernel has.

use std::path::Path;

use anyhow::{Context as _, Result};
use reuse_daemon::kernel::btf::{self, Btf};
use reuse_model::rulebook::{Features, Kernel, Release};

/// The rules of the running kernel.
///
/// # Errors
/// Where its version or its types cannot be read.
pub(crate) fn running(path: &Path) -> Result<Kernel> {
    let name = nix::sys::utsname::uname().context("uname")?;
    let name = name.release().to_string_lossy();
    let release = Release::parse(&name).with_context(|| format!("{name:?} is no kernel version"))?;
    let bytes = btf::read_file(path)?;
    let btf = Btf::parse(&bytes).map_err(|reason| anyhow::anyhow!("{}: {reason}", path.display()))?;
    let features = Features {
        sock_i_uid: btf.has_function("sock_i_uid"),
        inet_bind2_bucket: btf.size("inet_bind2_bucket").is_some(),
        deathrow: btf.member_bits("inet_bind2_bucket.deathrow").is_some(),
        bhash2: btf.member_bits("inet_bind_bucket.bhash2").is_some(),
    };
    Ok(Kernel::new(release, features))
}
