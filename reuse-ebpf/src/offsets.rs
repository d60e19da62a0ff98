//! Every member of a kernel structure that the programs read, declared once (in `members`): name, path and what is lost
//! without it.
//!
//! rustc emits no CO-RE relocations, so the daemon looks the paths up in the kernel's BTF and hands the offsets over as
//! one frozen global. The verifier takes them for constants.

/// Value of an optional member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// How a member is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Bytes from the start of the structure
    Bytes,
    /// Bits from the start of the structure (bit-fields)
    Bits,
    /// Size of the structure that the path names, bytes
    Size,
    /// Bits from the start of the structure to one bit of a word: `member[ENUMERATOR]`, where the enumerator numbers the
    /// bits; or a bit-field
    Flag,
}

/// Where a member is found in BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// `struct.member[.member..]`; unnamed members in between need no mention. `member[ENUMERATOR]` is the element of an
    /// array of pointers at that index. Alternatives in order, separated by `|`.
    pub path: &'static str,
    /// Unit
    pub measure: Measure,
    /// What it serves, and so what is lost without it
    pub concern: Concern,
}

/// What a member serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// Every record: nothing works without
    All,
    /// Nothing that is lost: the programs do without it ([`ABSENT`])
    Optional,
    /// Reading the sockets on the port of a refusal
    Holders,
    /// Which other checks could have refused
    Circumstances,
    /// Counting selections
    Selection,
    /// Noticing that a process is gone
    Exit,
    /// Queues and drops of a socket
    Gauges,
    /// Connections that found no port
    Connect,
    /// Binds by io_uring
    IoUring,
    /// By which way a bind came
    Ways,
    /// Telling the flows of datagrams apart
    Flows,
    /// What picks a member of a group
    Groups,
    /// In which order a group has its members
    GroupOrder,
    /// Who made a socket, whatever became of its owner
    Creator,
    /// Which multicast groups a socket joined
    Multicast,
    /// Descriptors in messages
    Passing,
}

impl Concern {
    /// Those that the lack of a member costs, and nothing else.
    pub const COSTING: [Self; 14] = [
        Self::Holders,
        Self::Circumstances,
        Self::Selection,
        Self::Exit,
        Self::Gauges,
        Self::Connect,
        Self::IoUring,
        Self::Ways,
        Self::Flows,
        Self::Groups,
        Self::GroupOrder,
        Self::Creator,
        Self::Multicast,
        Self::Passing,
    ];
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $path:literal, $measure:ident, $concern:ident;)*) => {
        /// Offsets of this kernel.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl Offsets {
            /// Number of members.
            pub const LEN: usize = [$(stringify!($field)),*].len();

            /// Placeholder until the daemon overrides it.
            pub const UNSET: Self = Self { $($field: 0,)* };

            /// Where each field is looked up, in the order of the fields.
            pub const MEMBERS: [Member; Self::LEN] = [
                $(Member { path: $path, measure: Measure::$measure, concern: Concern::$concern },)*
            ];

            /// The fields in the order of [`Self::MEMBERS`].
            #[must_use]
            pub const fn from_array([$($field),*]: [u32; Self::LEN]) -> Self {
                Self { $($field,)* }
            }

            /// The fields in the order of [`Self::MEMBERS`].
            #[must_use]
            pub const fn to_array(self) -> [u32; Self::LEN] {
                [$(self.$field),*]
            }
        }
        const _: () = assert!(size_of::<Offsets>() == 4 * Offsets::LEN);
    };
}

mod members;

pub use self::members::Offsets;
