//! Records on their way out: each becomes one only if somebody wants it, refusals by the repeat rule.

use std::{collections::HashMap, sync::Arc, time::Duration};

use reuse_model::{
    conflict::Conflict,
    event::Moment,
    repeats::{Mode, Repeats, Told},
    report::{LostEvent, Record, RecordBody},
};

use crate::{export::events::EventWriter, owner::names::Names};

/// How long stopping waits for what still waits to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way out.
pub struct Outlet {
    writer: Option<EventWriter>,
    repeats: Repeats<Arc<Conflict>>,
    /// Losses that were told already, by stage
    told: HashMap<&'static str, u64>,
}

impl Outlet {
    /// To a writer, or to nobody.
    #[must_use]
    pub fn new(writer: Option<EventWriter>, mode: Mode) -> Self {
        Self { writer, repeats: Repeats::new(mode), told: HashMap::new() }
    }

    /// Tells one record, made only if it is wanted.
    pub(super) fn tell(&self, at: Moment, names: &Names, body: impl FnOnce(&Names) -> RecordBody) {
        if let Some(writer) = &self.writer {
            writer.send(Record::new(at, body(names), names));
        }
    }

    /// Tells a refusal, at once or in a sum.
    pub(super) fn refused(&mut self, refused: &Arc<Conflict>, now: Moment, names: &Names) {
        if self.writer.is_none() {
            return;
        }
        if let Some(told) =
            self.repeats.offer(refused.kind(), Arc::clone(refused), refused.holders.len(), now)
        {
            self.tell_refusal(&told, names);
        }
    }

    /// Tells the sums whose time has come.
    pub(super) fn due(&mut self, now: Moment, names: &Names) {
        for told in self.repeats.due(now) {
            self.tell_refusal(&told, names);
        }
    }

    fn tell_refusal(&self, told: &Told<Arc<Conflict>>, names: &Names) {
        if let Some(writer) = &self.writer {
            writer.send(Record::conflict(&told.item, told.repeated, told.folded, names));
        }
    }

    /// Tells what was lost since the last time.
    pub(super) fn losses(&mut self, now: Moment, lost: &[(&'static str, u64)], names: &Names) {
        for &(stage, total) in lost {
            let told = self.told.insert(stage, total).unwrap_or(0);
            if total > told {
                let lost = total - told;
                log::warn!("{lost} events were lost at stage {stage}");
                self.tell(now, names, |_| RecordBody::Lost(LostEvent { stage: stage.to_owned(), lost }));
            }
        }
    }

    /// Records that could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.writer.as_ref().map_or(0, EventWriter::lost)
    }

    /// Tells every sum that was held back and waits for the writer.
    pub(super) fn flush(&mut self, names: &Names) {
        for told in self.repeats.flush() {
            self.tell_refusal(&told, names);
        }
        if let Some(writer) = self.writer.take() {
            writer.finish(PATIENCE);
        }
    }
}
