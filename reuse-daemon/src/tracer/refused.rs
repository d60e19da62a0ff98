//! One refusal, kept as it came until somebody wants it as a record.

use std::sync::Arc;

use reuse_model::{
    event::{Call, Moment},
    process::Process,
    refusal::Refusal,
    repeats::Kind,
    report::{Context, Record, RecordBody},
};

/// A refused call and what is known of it.
#[derive(Debug)]
pub(super) struct Refused {
    /// The call
    pub(super) call: Call,
    /// Who made it
    pub(super) process: Arc<Process>,
    /// Why it was refused
    pub(super) refusal: Refusal,
}

impl Refused {
    /// When the call returned.
    pub(super) fn at(&self) -> Moment {
        self.call.at
    }

    /// What makes it the same as others to a reader.
    pub(super) fn kind(&self) -> Kind {
        Kind {
            service: Arc::clone(&self.process.service),
            protocol: self.call.protocol(),
            endpoint: self.call.endpoint(),
            rule: self.refusal.rule,
        }
    }

    /// Its record. `repeated`, `folded`: as in [`reuse_model::repeats::Told`].
    pub(super) fn record(&self, repeated: u64, folded: bool, context: &dyn Context) -> Record {
        let Self { call, process, refusal } = self;
        let body = RecordBody::conflict(call, process, refusal, repeated, folded, context);
        Record::new(call.at, body, context)
    }
}
