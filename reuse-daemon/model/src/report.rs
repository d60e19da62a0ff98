//! What an operator is shown: the JSON of events, of the HTTP interface and of the commands, field by field as the
//! interface names it. Untrusted bytes are escaped here, by [`crate::text::escape`].

mod body;
mod conflict;
mod contender;
mod context;
mod events;
mod explain;
mod group;
mod holder;
mod owner;
mod record;
mod signal;
mod socket;
mod status;
mod test_group;
#[cfg(test)]
mod tests;

pub use conflict::{ConflictList, ConflictRecord};
pub use contender::Contender;
pub use context::{Context, View};
pub use events::{CallEvent, CloseEvent, ConflictEvent, GroupEvent, LostEvent, TestGroupEvent};
pub use explain::{Alternative, AnswerReport, ExplainReport, Outcome, QuestionReport};
pub use group::{GroupList, GroupReport, MemberReport, MemberWindowReport, WindowReport};
pub use holder::HolderReport;
pub use owner::OwnerReport;
pub use record::{Record, RecordBody};
pub use signal::{PartyReport, SignalEvent, SignalList, SignalRecord};
pub use socket::{SocketList, SocketReport};
pub use status::{ActiveTier, AttachedProgram, BlindSpot, Loss, StatusReport};
pub use test_group::{
    EvennessReport, ExperimentList, ExperimentReport, Mismatch, StepReport, TestGroupList, TestGroupReport,
    TestMemberReport,
};

/// Version of the JSON.
pub const SCHEMA: u32 = 1;
