//! What may be said of how a group's flows are spread.
//!
//! A verdict rests on the last two closed windows, never on the running one: a p-value that is looked at again and again
//! while flows come in falls below any bound in the end.

use super::{ClosedWindow, Pick};
use crate::{distribution::CHANCE_MIN, socket::Selector};

/// A fair choice is at least as uneven in one window of twenty: what is seen often is no finding, but no even spread
/// either.
const CHANCE_BELOW: f64 = 0.05;

/// How a group's flows are spread, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// As a fair choice spreads them in most windows
    Even,
    /// Less evenly, but so that a fair choice does the same at times
    UnevenByChance,
    /// A program or `SO_INCOMING_CPU` picks, not the hash: no even share is to be expected
    UnevenBySelector,
    /// In both windows beyond chance, and a connected UDP member takes part in the choice
    UnevenByConnected,
    /// So few flows that no ratio between members means anything, however many datagrams they have
    FewPeers,
    /// In both windows beyond chance, for another reason: a listener whose full queue takes no connection, clients that
    /// come from the same port again and again, or a selector that could not be read
    Uneven,
}

impl Verdict {
    /// The JSON word and label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::UnevenByChance => "uneven_by_chance",
            Self::UnevenBySelector => "uneven_by_selector",
            Self::UnevenByConnected => "uneven_by_connected",
            Self::FewPeers => "few_peers",
            Self::Uneven => "uneven",
        }
    }

    /// Judges a group of `members` by its last two closed windows, the older one first. `pick`: `None` where it was not
    /// read. `None`: not known, or nothing to judge.
    pub(super) fn of<'a>(
        members: usize,
        pick: Option<Pick>,
        closed: impl DoubleEndedIterator<Item = &'a ClosedWindow>,
    ) -> Option<Self> {
        if members < 2 {
            return None;
        }
        if pick.is_some_and(|pick| pick.selector != Selector::Hash) {
            return Some(Self::UnevenBySelector);
        }
        let mut newest_first = closed.rev();
        let (last, before) = (newest_first.next()?, newest_first.next()?);
        last.flows.filter(|flows| *flows > 0)?;
        let Some(p_value) = last.p_value else { return Some(Self::FewPeers) };
        let is_beyond_chance = |p: f64| p < CHANCE_MIN;
        if is_beyond_chance(p_value) {
            let twice = before.p_value.is_some_and(is_beyond_chance);
            let connected = pick.is_some_and(|pick| pick.has_connected);
            // Once is not enough, and chance it hardly was: the next window tells.
            return twice.then_some(if connected { Self::UnevenByConnected } else { Self::Uneven });
        }
        Some(if p_value < CHANCE_BELOW { Self::UnevenByChance } else { Self::Even })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Moment;

    fn window(flows: Option<u64>, p_value: Option<f64>) -> ClosedWindow {
        ClosedWindow { began: Moment(0), ended: Moment(1), members: 4, flows, p_value }
    }

    fn judge(pick: Option<Pick>, windows: [ClosedWindow; 2]) -> Option<Verdict> {
        Verdict::of(4, pick, windows.iter())
    }

    fn pick(selector: Selector, has_connected: bool) -> Option<Pick> {
        Some(Pick { selector, has_connected })
    }

    #[test]
    fn two_windows_beyond_chance_are_needed() {
        let hash = pick(Selector::Hash, false);
        let (fair, beyond) = (window(Some(1000), Some(0.5)), window(Some(1000), Some(9e-7)));
        assert_eq!(judge(hash, [fair, fair]), Some(Verdict::Even));
        assert_eq!(judge(hash, [fair, beyond]), None, "the next window tells");
        assert_eq!(judge(hash, [beyond, beyond]), Some(Verdict::Uneven));
        assert_eq!(judge(None, [beyond, beyond]), Some(Verdict::Uneven));
        assert_eq!(judge(hash, [beyond, fair]), Some(Verdict::Even), "the latest decides");
        let doubtful = window(Some(1000), Some(0.01));
        assert_eq!(judge(hash, [beyond, doubtful]), Some(Verdict::UnevenByChance));
        assert_eq!(judge(hash, [window(Some(19), None), beyond]), None);
        assert_eq!(judge(pick(Selector::Hash, true), [beyond, beyond]), Some(Verdict::UnevenByConnected));
        assert_eq!(Verdict::of(4, hash, [beyond].iter()), None, "one window alone");
        assert_eq!(Verdict::of(1, hash, [beyond, beyond].iter()), None, "nobody to share with");
    }

    #[test]
    fn what_cannot_be_judged_is_not() {
        let hash = pick(Selector::Hash, false);
        let idle = window(Some(0), None);
        assert_eq!(judge(hash, [idle, idle]), None);
        assert_eq!(judge(hash, [window(None, None), window(None, None)]), None);
        assert_eq!(judge(hash, [idle, window(Some(3), None)]), Some(Verdict::FewPeers));
    }

    #[test]
    fn another_selector_is_named_at_once() {
        for selector in [Selector::ClassicBpf, Selector::Ebpf, Selector::IncomingCpu] {
            let judged = Verdict::of(4, pick(selector, false), std::iter::empty());
            assert_eq!(judged, Some(Verdict::UnevenBySelector));
        }
    }
}
