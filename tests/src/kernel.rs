//! Which kernel runs, for what differs between kernels and is no fault of the daemon.

use anyhow::{Context, Result};

/// Whether the running kernel is of this version or a later one.
///
/// # Errors
/// When the kernel does not tell its release.
pub fn is_at_least(major: u32, minor: u32) -> Result<bool> {
    const RELEASE: &str = "/proc/sys/kernel/osrelease";
    let release = std::fs::read_to_string(RELEASE).context(RELEASE)?;
    let running = version(&release).with_context(|| format!("release {release:?}"))?;
    Ok(running >= (major, minor))
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(version("6.12.117+deb12-cloud-amd64\n"), Some((6, 12)));
        assert!(version("6.12.0") > version("6.8-rc1"));
        assert_eq!(version("kernel"), None);
    }
}
