//! What differs between kernel versions in how a bind is decided.

/// The version of a running kernel, as `uname -r` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release {
    /// 6 of 6.18.44
    pub major: u16,
    /// 18 of 6.18.44
    pub minor: u16,
    /// 44 of 6.18.44; 0 where the name has none
    pub patch: u16,
}

impl Release {
    /// The newest whose sources were read for the rules here.
    pub const NEWEST: Self = Self { major: 6, minor: 19, patch: 0 };

    /// Reads what `uname -r` gives, as `6.18.44`, `6.12-rc3`, `6.1.0-28-amd64`; `None` where no number and no dot
    /// begin it.
    ///
    /// Distributions may freeze the third number (Debian's `6.1.0-28-amd64` is a 6.1.119): their kernels then pass for
    /// the first of the series.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let major = leading_number(parts.next()?)?;
        let minor = leading_number(parts.next()?)?;
        let patch = parts.next().and_then(leading_number).unwrap_or(0);
        Some(Self { major, minor, patch })
    }
}

fn leading_number(text: &str) -> Option<u16> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// What the type information of a kernel (BTF) shows of it; says more than the version where a distribution ports changes back.
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
}

/// How the running kernel decides, where kernels differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The first socket on a port sets `fastreuse` and FASTREUSEPORT_ANY; since 6.8 the new bucket counts as used before
    /// it is asked (`inet_csk_update_fastreuse`), so that neither is ever set.
    pub(super) first_bind_opens_bucket: bool,
    /// Sockets without a `struct socket` (orphans, connections not accepted yet) count as uid 0 (`sock_i_uid`, up to
    /// 6.16); later they keep their own (`sk_uid`).
    pub(super) ownerless_uid_is_root: bool,
    /// A UDP bind to a wildcard scans the whole port also with more than 10 sockets in its slot
    /// (`inet_use_hash2_on_bind` in `udp_lib_get_port`).
    pub(super) udp_wildcard_scans_port: bool,
}

impl Kernel {
    /// The rules of the kernel of that release with those features.
    #[must_use]
    pub fn new(release: Release, features: Features) -> Self {
        Self {
            first_bind_opens_bucket: !features.bhash2,
            ownerless_uid_is_root: features.sock_i_uid,
            udp_wildcard_scans_port: release >= Release { major: 6, minor: 18, patch: 24 },
        }
    }
}
