//! What differs between kernel versions in how a bind is decided.
//!
//! Linux 6.18, 6.12 and 6.1 were read and tried (`cargo xtask fuzz-rules`, 6.1 and 6.12 in a virtual machine); of the
//! others the sources and the change logs of their stable series. Where a change shows in the type information it is
//! looked for there, since distributions and stable series port changes back; where it does not, the release decides,
//! series by series. Not told apart: up to 6.8.4, 6.6.25 and 6.1.84 the wildcards of IPv4 and IPv6 are two buckets of
//! which only the newer is asked (d91ef1e1b55f), and their order is not to be had.

mod differences;
mod release;

pub use self::{
    differences::{DIFFERENCES, Difference},
    release::Release,
};

/// What the type information (BTF) of a kernel shows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Function `sock_i_uid`
    pub sock_i_uid: bool,
    /// Type `struct inet_bind2_bucket`
    pub inet_bind2_bucket: bool,
    /// Member `deathrow` of `struct inet_bind2_bucket`
    pub deathrow: bool,
    /// Member `bhash2` of `struct inet_bind_bucket`
    pub bhash2: bool,
    /// A security module with a policy for every process is in force: SELinux, AppArmor, Smack, TOMOYO
    pub mandatory_access_control: bool,
}

/// How the running kernel decides, where kernels differ: what each is, and of which kernels, is in [`DIFFERENCES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    pub(super) buckets_by_address: bool,
    pub(super) time_wait_by_address: bool,
    pub(super) ipv4_sees_ipv6_wildcard: bool,
    pub(super) ipv4_sees_mapped: bool,
    pub(super) mapped_by_address: bool,
    pub(super) mapped_sees_mapped_wildcard: bool,
    pub(super) mapped_sees_v6only: bool,
    pub(super) first_bind_opens_bucket: bool,
    pub(super) ownerless_uid_is_root: bool,
    pub(super) udp_wildcard_scans_port: bool,
    /// A security module with a policy for every process is in force, which refuses with EACCES
    pub(crate) mandatory_access_control: bool,
}

impl Kernel {
    /// The rules of the kernel of that release with those features.
    #[must_use]
    pub fn new(release: Release, features: Features) -> Self {
        // Older ones with these buckets had them ported back, and the corrections with them.
        let has = |fixes: &[(u16, u16, u16)]| release < Release::new(6, 1, 0) || release.has_any(fixes);
        let regressed = Release::new(6, 8, 0)..Release::new(6, 8, 5);
        // Without what 6.8 made of these buckets, in which an IPv4 address is a mapped one.
        let mapped_ported_back = !features.bhash2 && release.is_in_series_from(&[(6, 1, 168), (6, 6, 131)]);
        Self {
            buckets_by_address: features.inet_bind2_bucket,
            time_wait_by_address: features.deathrow || features.bhash2,
            ipv4_sees_ipv6_wildcard: has(&[(6, 1, 21), (6, 2, 8), (6, 3, 0)]),
            ipv4_sees_mapped: has(&[(6, 1, 54), (6, 5, 4), (6, 6, 0)]),
            mapped_by_address: features.bhash2 || mapped_ported_back,
            mapped_sees_mapped_wildcard: !mapped_ported_back,
            mapped_sees_v6only: regressed.contains(&release),
            first_bind_opens_bucket: !features.bhash2,
            ownerless_uid_is_root: features.sock_i_uid,
            udp_wildcard_scans_port: release.has_any(&[
                (6, 1, 168),
                (6, 6, 131),
                (6, 12, 80),
                (6, 18, 21),
                (6, 19, 11),
                (7, 0, 0),
            ]),
            mandatory_access_control: features.mandatory_access_control,
        }
    }

    /// Whether a bind to one address finds a socket in TIME_WAIT there.
    #[must_use]
    pub const fn finds_time_wait(&self) -> bool {
        !self.buckets_by_address || self.time_wait_by_address
    }

    /// Which of the [`DIFFERENCES`] are this kernel's.
    pub fn differences(&self) -> impl Iterator<Item = &'static Difference> {
        DIFFERENCES.iter().filter(|difference| (difference.is)(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(text: &str) -> Kernel {
        Kernel::new(Release::parse(text).expect("a version"), Features::default())
    }

    #[test]
    fn a_fix_counts_in_its_series_and_from_the_newest_on() {
        for (release, fixed) in [
            ("6.1.167", false),
            ("6.1.168", true),
            ("6.5.99", false),
            ("6.6.131", true),
            ("6.7.99", false),
            ("6.12.79", false),
            ("6.12.80", true),
            ("6.18.20", false),
            ("6.18.44", true),
            ("6.19.10", false),
            ("7.0.0", true),
            ("7.3.1", true),
        ] {
            assert_eq!(kernel(release).udp_wildcard_scans_port, fixed, "{release}");
        }
        assert!(!kernel("6.1.20").ipv4_sees_ipv6_wildcard && kernel("6.1.21").ipv4_sees_ipv6_wildcard);
        assert!(!kernel("6.5.3").ipv4_sees_mapped && kernel("6.12.1").ipv4_sees_mapped);
        assert!(kernel("5.14.0").ipv4_sees_mapped, "ported back with the buckets");
        assert!(kernel("6.8.4").mapped_sees_v6only && !kernel("6.8.5").mapped_sees_v6only);
    }

    #[test]
    fn what_was_ported_back_alone_stays_in_its_series() {
        for (release, bhash2, by_address, sees_wildcard) in [
            ("6.1.167", false, false, true),
            ("6.1.168", false, true, false),
            ("6.5.13", false, false, true),
            ("6.6.130", false, false, true),
            ("6.6.131", false, true, false),
            ("6.7.12", false, false, true),
            ("6.8.0", true, true, true),
            ("6.12.117", true, true, true),
        ] {
            let features = Features { bhash2, ..Features::default() };
            let kernel = Kernel::new(Release::parse(release).expect("a version"), features);
            assert_eq!(kernel.mapped_by_address, by_address, "{release}");
            assert_eq!(kernel.mapped_sees_mapped_wildcard, sees_wildcard, "{release}");
        }
    }
}
