//! Which of the rulebook's kernels the running one is.

use std::fs;

use nix::sys::utsname::uname;
use reuse_model::rulebook::{Features, Kernel, Release};

use super::btf::Btf;

/// How the running kernel decides a bind, from its names and its type information.
#[must_use]
pub fn of_running_kernel(btf: &Btf<'_>) -> Kernel {
    let release = release_of_running_kernel();
    if release.is_none() {
        log::warn!(
            "the kernel's release is not a version; refusals are explained as by the newest kernel known"
        );
    }
    Kernel::new(release.unwrap_or(Release::NEWEST), features(btf))
}

/// The version of the running kernel, where its names tell.
#[must_use]
pub fn release_of_running_kernel() -> Option<Release> {
    let name = uname().ok()?;
    let signature = fs::read_to_string("/proc/version_signature").unwrap_or_default();
    Release::of_names(name.release().to_str()?, name.version().to_str()?, &signature)
}

fn features(btf: &Btf<'_>) -> Features {
    Features {
        sock_i_uid: btf.has_function("sock_i_uid"),
        inet_bind2_bucket: btf.size("inet_bind2_bucket").is_some(),
        deathrow: btf.member_bits("inet_bind2_bucket.deathrow").is_some(),
        bhash2: btf.member_bits("inet_bind_bucket.bhash2").is_some(),
        mandatory_access_control: mandatory_access_control(),
    }
}

/// Whether such a security module is in force: by the list of those that are active (Documentation/admin-guide/LSM), or where
/// that file system is not mounted by what SELinux and AppArmor show of themselves.
fn mandatory_access_control() -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let active = read("/sys/kernel/security/lsm");
    active.trim().split(',').any(|name| ["selinux", "apparmor", "smack", "tomoyo"].contains(&name))
        || read("/sys/fs/selinux/enforce").starts_with('1')
        || read("/sys/module/apparmor/parameters/enabled").starts_with('Y')
}
