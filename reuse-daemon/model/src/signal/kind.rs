//! The names of the signals and how grave they are, in the words of the interface.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Declares [`Kind`] with its words, so that name and variant cannot drift apart.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// What a signal says. Of the kinds that fit one state the first is told: the order is theirs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind, the first that fits a state being told.
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

kinds! {
    /// Another process asked for a port of the test group, has one, or gets its traffic
    TestGroupIntruder = "test_group_intruder",
    /// Others listened first on an address that both had bound with SO_REUSEADDR
    ListenSquat = "listen_squat",
    /// A port is shared because TCP_REPAIR skipped every check
    RepairBind = "repair_bind",
    /// The uid of a socket is not the one its file was opened with
    OwnerChange = "owner_change",
    /// The same port in the other address family
    FamilyShadow = "family_shadow",
    /// The same port with another device, or with one against without
    DeviceShadow = "device_shadow",
    /// The same port at a more specific address
    MoreSpecificShadow = "more_specific_shadow",
    /// Sockets of different uids on one address and port
    ForeignUidShare = "foreign_uid_share",
    /// Programs of one uid share an address and port
    ForeignProgramJoin = "foreign_program_join",
    /// Two generations of one service share a port
    GenerationOverlap = "generation_overlap",
    /// Another uid asked to join a group and was refused
    JoinRefused = "join_refused",
    /// Others took a port soon after who had it let it go
    TakeoverAfterClose = "takeover_after_close",
    /// A program or a CPU preference decides who of a group is selected
    GroupSteering = "group_steering",
    /// A socket is open in another program than the one that bound it
    InheritedListener = "inherited_listener",
    /// A member of a group accepts nothing while its queue is full
    StalledMember = "stalled_member",
}

/// How grave a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Usual, and good to know
    Info,
    /// To be looked at
    Warning,
    /// Traffic goes, or may go, to whom it is not meant for
    Critical,
}

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A word that names no signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoKind(String);

impl fmt::Display for NoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        write!(f, "there is no signal `{}`; the signals are {}", self.0, all.join(", "))
    }
}

impl std::error::Error for NoKind {}

impl FromStr for Kind {
    type Err = NoKind;

    fn from_str(word: &str) -> Result<Self, NoKind> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == word);
        found.copied().ok_or_else(|| NoKind(word.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
