//! How much of what one service brings about is told: who makes and ends states in a loop fills no log.

use std::{collections::HashMap, sync::Arc};

use crate::event::Moment;

/// Nanoseconds after which everyone may be told of anew.
const WINDOW: u64 = 10_000_000_000;

/// Signals of one service that are told within that time.
const TOLD_MAX: u32 = 100;

/// Most services told apart; the rest share.
const SERVICES_MAX: usize = 1024;

/// What was told lately.
#[derive(Debug)]
pub(super) struct Flood {
    began: Moment,
    told: HashMap<Arc<str>, u32>,
}

impl Default for Flood {
    fn default() -> Self {
        Self { began: Moment(0), told: HashMap::new() }
    }
}

impl Flood {
    /// Whether a signal that this service brought about is to be told.
    pub(super) fn admits(&mut self, service: &Arc<str>, now: Moment) -> bool {
        if now.0.saturating_sub(self.began.0) >= WINDOW {
            self.began = now;
            self.told.clear();
        }
        let has_room = self.told.len() < SERVICES_MAX || self.told.contains_key(service);
        let told = self.told.entry(if has_room { Arc::clone(service) } else { Arc::from("") }).or_default();
        *told += 1;
        *told <= TOLD_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_in_a_loop_silences_nobody_else_and_itself_for_a_while() {
        let (mut flood, loud, quiet) = (Flood::default(), Arc::from("loud"), Arc::from("quiet"));
        let admitted = (0..1000).filter(|at| flood.admits(&loud, Moment(WINDOW + at))).count();
        assert_eq!(admitted, TOLD_MAX as usize);
        assert!(flood.admits(&quiet, Moment(WINDOW + 1000)));
        assert!(flood.admits(&loud, Moment(2 * WINDOW)));
    }

    #[test]
    fn services_beyond_those_told_apart_share() {
        let mut flood = Flood::default();
        let admitted =
            (0..5000_u32).filter(|number| flood.admits(&number.to_string().into(), Moment(1))).count();
        assert_eq!(admitted, SERVICES_MAX + TOLD_MAX as usize);
        assert!(flood.told.len() <= SERVICES_MAX + 1);
    }
}
