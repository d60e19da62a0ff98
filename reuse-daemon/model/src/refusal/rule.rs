//! The names of the rules by which the kernel refuses, in the words of the interface.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Declares [`Rule`] with its words, so that name and variant cannot drift apart.
macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// A rule that refused a bind or a listen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The label value and JSON word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

rules! {
    /// Both set SO_REUSEPORT, the socket uids differ, the holder is not TIME_WAIT
    ReuseportUidMismatch = "reuseport_uid_mismatch",
    /// Both set SO_REUSEPORT, the contender is in a group already
    ReuseportProgramAttached = "reuseport_program_attached",
    /// A TCP holder listens, and SO_REUSEPORT is not one option away
    HolderIsListening = "holder_is_listening",
    /// A live holder, neither sets SO_REUSEADDR, and SO_REUSEPORT is not one option away
    Exclusive = "exclusive",
    /// A live holder without SO_REUSEPORT, the contender sets it
    HolderLacksReuseport = "holder_lacks_reuseport",
    /// A live holder sets SO_REUSEPORT, the contender does not
    ContenderLacksReuseport = "contender_lacks_reuseport",
    /// A live holder without SO_REUSEADDR, the contender sets it
    HolderLacksReuseaddr = "holder_lacks_reuseaddr",
    /// A live holder sets SO_REUSEADDR, the contender does not
    ContenderLacksReuseaddr = "contender_lacks_reuseaddr",
    /// An orphan on its way through the TCP states
    HolderIsClosing = "holder_is_closing",
    /// TIME_WAIT, or an orphaned FIN_WAIT2
    TimeWait = "time_wait",
    /// `bind` to port 0, or `listen` without a port: no port of the range was free
    EphemeralPortsExhausted = "ephemeral_ports_exhausted",
    /// `connect` from a port of its own to a peer that a connection from there goes to already
    NoFreeTuple = "no_free_tuple",
    /// Memory, or a SO_REUSEPORT group that is full
    KernelResource = "kernel_resource",
    /// A port below `ip_unprivileged_port_start` without `CAP_NET_BIND_SERVICE`
    PrivilegedPort = "privileged_port",
    /// SELinux, AppArmor, Landlock, ...
    SecurityModule = "security_module",
    /// The address is on no interface
    AddressNotLocal = "address_not_local",
    /// The socket has an address already
    AlreadyBound = "already_bound",
    /// The address is malformed or of a kind that this socket cannot have
    InvalidAddress = "invalid_address",
    /// `listen` on a socket that is connected
    WrongState = "wrong_state",
    /// A BPF program of a cgroup
    CgroupProgram = "cgroup_program",
    /// A seccomp filter
    Seccomp = "seccomp",
    /// The device of the scope or of SO_BINDTODEVICE is gone
    DeviceGone = "device_gone",
    /// The socket's type or family cannot do that
    Unsupported = "unsupported",
    /// The descriptor is no socket, or the address is unreadable
    BadArguments = "bad_arguments",
    /// Not found out
    Unknown = "unknown",
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A word that names no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRule(String);

impl std::fmt::Display for NoRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no rule `{}`", self.0)
    }
}

impl std::error::Error for NoRule {}

impl FromStr for Rule {
    type Err = NoRule;

    fn from_str(word: &str) -> Result<Self, NoRule> {
        let found = Self::ALL.iter().find(|rule| rule.as_str() == word);
        found.copied().ok_or_else(|| NoRule(word.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// How sure an explanation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Nothing else gives this answer
    Exact,
    /// The likeliest reason, where what was seen leaves another one open
    BestEvidence,
}

impl Confidence {
    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::BestEvidence => "best_evidence",
        }
    }
}
