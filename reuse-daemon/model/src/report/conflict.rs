//! `/api/v1/conflicts`, and a conflict event as a command reads it back.

use serde::{Deserialize, Serialize};

use super::ConflictEvent;

/// Body of `/api/v1/conflicts`: the latest refusals, the oldest first. Written with [`super::Record`]s, read with
/// [`ConflictRecord`]s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConflictList<T> {
    /// Version of the JSON
    pub schema: u32,
    /// Each refusal as its event
    pub conflicts: Vec<T>,
    /// How many are not among them for want of room, since the daemon started
    pub dropped: u64,
}

/// A [`super::Record`] of type `conflict`, read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConflictRecord {
    /// Version of the JSON
    pub schema: u32,
    /// `conflict`
    pub r#type: String,
    /// When, RFC 3339 with microseconds
    pub time: String,
    /// When, nanoseconds since boot
    pub boottime_ns: u64,
    /// What was refused, and why
    #[serde(flatten)]
    pub event: ConflictEvent,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_string};

    use super::*;
    use crate::{
        event::Phase,
        fixtures::{self, Everyone, Numbers, call, comm, facts, loopback},
        process::Processes,
        report::{Record, RecordBody, SCHEMA},
    };

    #[test]
    fn what_is_read_back_is_what_was_written() {
        let mut refused = call(Phase::Bind, 98, 10, 7, facts(5, 0));
        refused.requested = Some(loopback(8080));
        let process = Everyone.process(10, comm("srv"), 0);
        let body = RecordBody::conflict(&fixtures::conflict(&refused, &process), 3, true, &Numbers);
        let record = Record::new(refused.at, body, &Numbers);
        let written =
            to_string(&ConflictList { schema: SCHEMA, conflicts: vec![record], dropped: 0 }).expect("JSON");
        let read: ConflictList<ConflictRecord> = from_str(&written).expect("read back");
        assert_eq!((read.conflicts.len(), read.conflicts[0].event.repeated), (1, 3));
        assert_eq!(to_string(&read).expect("JSON"), written, "key by key, in the same order");
    }
}
