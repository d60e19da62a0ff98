//! What the local socket may ask, and the reports it gets: typed, so that command lines can be added and JSON be made
//! outside the tracer's thread.

use std::{sync::Arc, time::Duration};

use reuse_model::report::{
    ConflictList, GroupList, Record, SignalList, SocketList, StatusReport, TestGroupList,
};

/// A question of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalQuery {
    /// Every bound socket
    Sockets,
    /// Every SO_REUSEPORT group
    Groups,
    /// The daemon's own groups
    TestGroup,
    /// What the daemon sees and what it does not
    Status,
    /// The latest refusals
    Conflicts {
        /// Those of so long ago at most; `None`: all that are kept
        within: Option<Duration>,
    },
    /// The active signals, and those that ended
    Signals {
        /// So long ago at most; `None`: all that are kept
        within: Option<Duration>,
    },
}

/// The answer, with paths and without command lines.
#[derive(Clone, Debug)]
pub enum LocalAnswer {
    /// To [`LocalQuery::Sockets`]
    Sockets(Arc<SocketList>),
    /// To [`LocalQuery::Groups`]
    Groups(Arc<GroupList>),
    /// To [`LocalQuery::TestGroup`]
    TestGroup(Arc<TestGroupList>),
    /// To [`LocalQuery::Status`]
    Status(Arc<StatusReport>),
    /// To [`LocalQuery::Conflicts`]
    Conflicts(Arc<ConflictList<Record>>),
    /// To [`LocalQuery::Signals`]
    Signals(Arc<SignalList<Vec<Record>>>),
    /// Not yet: why
    Unavailable(String),
}
