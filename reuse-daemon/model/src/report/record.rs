//! Events as the stream tells them: one object a line.

use serde::Serialize;

use super::{
    CallEvent, CloseEvent, ConflictEvent, Context, GroupEvent, LostEvent, SCHEMA, SignalEvent, TestGroupEvent,
};
use crate::{conflict::Conflict, event::Moment};

/// One event of the stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Version of the JSON
    pub schema: u32,
    /// Kind of event
    pub r#type: &'static str,
    /// When, RFC 3339 with microseconds
    pub time: String,
    /// When, nanoseconds since boot
    pub boottime_ns: u64,
    /// What happened
    #[serde(flatten)]
    pub body: RecordBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RecordBody {
    /// A successful `bind`
    Bind(CallEvent),
    /// A successful `listen`
    Listen(CallEvent),
    /// A refused `bind` or `listen`
    Conflict(Box<ConflictEvent>),
    /// A socket that held a port is gone
    Close(CloseEvent),
    /// A socket joined or left a SO_REUSEPORT group
    Group(GroupEvent),
    /// A signal began or ended
    Signal(Box<SignalEvent>),
    /// A probe whose three answers differ
    TestGroup(TestGroupEvent),
    /// Events were lost
    Lost(LostEvent),
}

impl RecordBody {
    /// The JSON word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bind(_) => "bind",
            Self::Listen(_) => "listen",
            Self::Conflict(_) => "conflict",
            Self::Close(_) => "close",
            Self::Group(_) => "group",
            Self::Signal(_) => "signal",
            Self::TestGroup(_) => "test_group",
            Self::Lost(_) => "lost",
        }
    }
}

impl Record {
    /// The record of a refusal. `repeated`, `folded`: as in [`crate::repeats::Told`].
    #[must_use]
    pub fn conflict(conflict: &Conflict, repeated: u64, folded: bool, context: &dyn Context) -> Self {
        let body = RecordBody::conflict(conflict, repeated, folded, context);
        Self::new(conflict.call.at, body, context)
    }

    /// The record of what happened `at` a moment.
    #[must_use]
    pub fn new(at: Moment, body: RecordBody, context: &dyn Context) -> Self {
        Self { schema: SCHEMA, r#type: body.kind(), time: context.time(at), boottime_ns: at.0, body }
    }
}
