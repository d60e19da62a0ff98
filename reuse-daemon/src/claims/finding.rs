//! What a trial saw, sentence by sentence, and the verdict that follows.

use reuse_model::claim::Verdict;

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding(Vec<(Weight, String)>);

/// What a sentence does to the verdict, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Something that the kernel is known to do did not show
    Missing,
    /// Something that the claim says is not so
    Contradiction,
    /// A case in which it does not hold
    Exception,
    /// Something that the claim says is so
    Agreement,
    /// None
    Note,
}

impl Finding {
    /// Something that the claim says: whether it was so.
    pub(super) fn claimed(&mut self, so: bool, sentence: impl Into<String>) {
        self.add(if so { Weight::Agreement } else { Weight::Contradiction }, sentence);
    }

    /// A case that the claim does not mention, in which the kernel is known to do otherwise: whether it did.
    pub(super) fn exception(&mut self, shown: bool, sentence: impl Into<String>) {
        self.add(if shown { Weight::Exception } else { Weight::Missing }, sentence);
    }

    /// Something that the verdict does not depend on, but that the kernel is known to do: whether it did.
    pub(super) fn known(&mut self, so: bool, sentence: impl Into<String>) {
        self.add(if so { Weight::Note } else { Weight::Missing }, sentence);
    }

    /// A sentence that decides nothing.
    pub(super) fn note(&mut self, sentence: impl Into<String>) {
        self.add(Weight::Note, sentence);
    }

    fn add(&mut self, weight: Weight, sentence: impl Into<String>) {
        self.0.push((weight, sentence.into()));
    }

    fn has(&self, weight: Weight) -> bool {
        self.0.iter().any(|(has, _)| *has == weight)
    }

    /// About the claim as worded.
    pub(super) fn verdict(&self) -> Verdict {
        if self.has(Weight::Contradiction) {
            Verdict::DoesNotHold
        } else if self.has(Weight::Exception) {
            Verdict::HoldsWithConditions
        } else {
            Verdict::Holds
        }
    }

    /// Whether all that the kernel is known to do showed.
    pub(super) fn is_complete(&self) -> bool {
        !self.has(Weight::Missing)
    }

    /// The sentences, the most telling first.
    pub(super) fn into_evidence(mut self) -> Vec<String> {
        self.0.sort_by_key(|(weight, _)| *weight);
        self.0.into_iter().map(|(_, sentence)| sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_from_what_was_seen() {
        let mut finding = Finding::default();
        finding.claimed(true, "");
        assert_eq!(finding.verdict(), Verdict::Holds);
        finding.exception(true, "");
        assert_eq!(finding.verdict(), Verdict::HoldsWithConditions);
        assert!(finding.is_complete());
        finding.exception(false, "");
        assert!(!finding.is_complete(), "one side of the condition did not show");
        finding.claimed(false, "");
        finding.claimed(true, "");
        assert_eq!(finding.verdict(), Verdict::DoesNotHold);
    }

    #[test]
    fn the_most_telling_sentence_comes_first() {
        let mut finding = Finding::default();
        finding.note("aside");
        finding.claimed(true, "so");
        finding.claimed(false, "not so");
        finding.exception(true, "but");
        assert_eq!(finding.into_evidence(), ["not so", "but", "so", "aside"]);
    }
}
