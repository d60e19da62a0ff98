//! What differs between kernel versions in how a bind is decided.
//!
//! Linux 6.18 was read whole and tried; of the others the sources and the change logs of their stable series. Where a
//! change shows in the type information it is looked for there, since distributions port changes back without changing
//! the version. Not told apart: up to 6.8.4, 6.6.25 and 6.1.84 the wildcards of IPv4 and IPv6 are two buckets of which
//! only the newer is asked (d91ef1e1b55f), and their order is not to be had.

mod release;

pub use release::Release;

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

/// How the running kernel decides, where kernels differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// TCP: a bind to a specific address asks the sockets of that address and the wildcards alone, which are kept in
    /// buckets of their own (since 6.1, 28044fc1d495); before, every socket on the port.
    pub(super) buckets_by_address: bool,
    /// TCP: connections in TIME_WAIT are in those buckets (since 6.2 and early in 6.1, 936a192f9740); before, a bind to
    /// a specific address does not see them.
    pub(super) time_wait_by_address: bool,
    /// TCP: a bind to a specific IPv4 address sees a socket on `::` (since 6.3, 6.2.8, 6.1.21: d9ba99342855).
    pub(super) ipv4_sees_ipv6_wildcard: bool,
    /// TCP: a bind to a specific IPv4 address sees IPv6 sockets on `::ffff:0.0.0.0` and on its own address in mapped
    /// form (since 6.6, 6.5.4, 6.1.54: aa99e5f87bd5, c48ef9c4aed3).
    pub(super) ipv4_sees_mapped: bool,
    /// TCP: a bind to a mapped address takes a socket on `::` with IPV6_V6ONLY for an obstacle (from 6.8, where it began
    /// to use the buckets by address, 5e07e672412b, to 6.8.4).
    pub(super) mapped_sees_v6only: bool,
    /// TCP: the first socket on a port can set `fastreuse` and FASTREUSEPORT_ANY in the bucket (up to 6.7). Since
    /// b2cb9f9ef240 its own address is in the bucket before `inet_csk_update_fastreuse` asks whether it is empty.
    pub(super) first_bind_opens_bucket: bool,
    /// Sockets without a `struct socket` (orphans, connections not accepted yet) count as uid 0 (`sock_i_uid`, up to
    /// 6.16); later they keep their own (`sk_uid`).
    pub(super) ownerless_uid_is_root: bool,
    /// UDP: with more than 10 sockets in its slot a bind to a wildcard scans the whole port (since 7.0, 6.19.11,
    /// 6.18.21, 6.12.80, 6.6.131, 6.1.168: e537dd15d0d4); before, the wildcards alone.
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
        Self {
            buckets_by_address: features.inet_bind2_bucket,
            time_wait_by_address: features.deathrow || features.bhash2,
            ipv4_sees_ipv6_wildcard: has(&[(6, 1, 21), (6, 2, 8), (6, 3, 0)]),
            ipv4_sees_mapped: has(&[(6, 1, 54), (6, 5, 4), (6, 6, 0)]),
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
}
