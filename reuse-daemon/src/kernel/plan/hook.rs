//! The places that programs go to.

use std::path::PathBuf;

use crate::kernel::loader_types::Anchor;

/// Where a program goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Tracepoints by category and names
    Tracepoints(&'static str, &'static [&'static str]),
    /// A tracepoint with typed arguments
    BtfTracepoint(&'static str),
    /// Entry of a kernel function
    FunctionEntry(&'static str),
    /// End of a kernel function
    FunctionExit(&'static str),
    /// Entry of a kernel function by a probe, which puts a breakpoint or a jump there
    FunctionProbe(&'static str),
    /// A hook of the root cgroup, by the name of its kind
    Cgroup(&'static str, PathBuf),
    /// An iterator
    Iterator(&'static str),
    /// The daemon's own groups
    OwnGroup,
}

impl Hook {
    /// The tracepoint at the return of a system call, whose program has its name.
    pub(super) fn system_call(name: &'static &'static str) -> Self {
        Self::Tracepoints("syscalls", std::slice::from_ref(name))
    }

    /// The type that its program is attached by, if by one.
    pub(in crate::kernel) fn anchor(&self) -> Option<Anchor> {
        match self {
            Self::BtfTracepoint(name) => Some(Anchor::Tracepoint((*name).to_owned())),
            Self::FunctionEntry(name) | Self::FunctionExit(name) => {
                Some(Anchor::Function((*name).to_owned()))
            }
            Self::Iterator(kind) => Some(Anchor::iterator(kind)),
            Self::Tracepoints(..) | Self::FunctionProbe(_) | Self::Cgroup(..) | Self::OwnGroup => None,
        }
    }

    /// Value of the label `mechanism`.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::Tracepoints(..) => "tracepoint",
            Self::BtfTracepoint(_) => "btf_tracepoint",
            Self::FunctionEntry(_) => "fentry",
            Self::FunctionExit(_) => "fexit",
            Self::FunctionProbe(_) => "kprobe",
            Self::Cgroup(..) => "cgroup",
            Self::Iterator(_) => "iterator",
            Self::OwnGroup => "sk_reuseport",
        }
    }

    /// Value of the label `hook`: the mechanism and its place.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Tracepoints(category, names) => format!("tracepoint/{category}/{}", names.join("+")),
            Self::BtfTracepoint(name) => format!("tp_btf/{name}"),
            Self::FunctionEntry(name) => format!("fentry/{name}"),
            Self::FunctionExit(name) => format!("fexit/{name}"),
            Self::FunctionProbe(name) => format!("kprobe/{name}"),
            Self::Cgroup(kind, _) => format!("cgroup/{kind}"),
            Self::Iterator(name) => format!("iter/{name}"),
            Self::OwnGroup => "sk_reuseport".to_owned(),
        }
    }
}
