//! The answer to one question, with what it was made of.

use reuse_model::{
    endpoint::Transport,
    event::Phase,
    port::{Occupant, Port},
    refusal::{Confidence, Rule},
    report::{Alternative, Outcome},
    rulebook::{
        Blocker, Contender, Decision, Exemption,
        precheck::{Objection, Surroundings},
    },
};

use super::{question::Question, remedy, unread, verdict::Case, verdict::Verdict, weak::Certain};

/// What came of one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The question
    pub question: Question,
    /// The socket that would ask
    pub contender: Contender,
    /// The port as it was read
    pub port: Port,
    /// What the checks before it depend on; `None` where no socket could be made
    pub around: Option<Surroundings>,
    /// How it ends
    pub outcome: Outcome,
    /// By what; the blockers are its holders
    pub verdict: Verdict,
    /// The rule of each blocker, `None` where it could not be told
    pub rules: Vec<Option<Rule>>,
    /// The rule of the whole
    pub rule: Option<Rule>,
    /// How sure all that is
    pub confidence: Confidence,
    /// The options of the sockets on the port are known
    pub knows_options: bool,
    /// What to do
    pub remedy: Option<String>,
    /// What SO_REUSEADDR would change, where that was asked
    pub with_reuseaddr: Option<Alternative>,
}

impl Answer {
    /// Decides a case. `knows_options`: the options of the sockets on the port were read.
    pub(super) fn of(question: &Question, case: &Case<'_>, knows_options: bool) -> Self {
        let (outcome, verdict, rules, rule) = if knows_options {
            let verdict = case.verdict();
            let outcome = if verdict.refused() { Outcome::Refused } else { Outcome::Success };
            let rules = verdict.decision.blockers.iter().map(|blocker| Some(blocker.rule)).collect();
            let rule = verdict.rule();
            (outcome, verdict, rules, rule)
        } else {
            let certain = Certain::of(case);
            let rule = certain.rule();
            (certain.outcome, certain.verdict, certain.rules, rule)
        };
        let whole = knows_options && !case.port.truncated && !case.port.disturbed;
        // A check before the port does not depend on it.
        let confidence =
            if whole || verdict.objection.is_some() { Confidence::Exact } else { Confidence::BestEvidence };
        let remedy = match (outcome, verdict.objection) {
            (Outcome::Success, _) => None,
            (_, Some(objection)) => Some(remedy::of_objection(objection, question, case.contender, None)),
            (_, None) if knows_options => Some(remedy::of_holders(case, &verdict.decision.blockers)),
            (_, None) if rule.is_some() => {
                let viewer = nix::unistd::geteuid().as_raw();
                Some(remedy::of_certain_holders(case, &verdict.decision.blockers, viewer))
            }
            (_, None) => Some(remedy::WITHOUT_OPTIONS.to_owned()),
        };
        Self {
            question: question.clone(),
            contender: case.contender.clone(),
            port: case.port.clone(),
            around: Some(*case.around),
            outcome,
            verdict,
            rules,
            rule,
            confidence,
            knows_options,
            remedy,
            with_reuseaddr: None,
        }
    }

    /// The kernel makes no such socket; `device` is the one asked for by name.
    pub(super) fn impossible(
        question: &Question,
        contender: Contender,
        device: Option<&str>,
        objection: Objection,
    ) -> Self {
        let decision = Decision { refused: false, blockers: Vec::new(), decided_by: None, exemption: None };
        Self {
            question: question.clone(),
            remedy: Some(remedy::of_objection(objection, question, &contender, device)),
            contender,
            port: unread(),
            around: None,
            outcome: Outcome::Refused,
            verdict: Verdict { phase: Phase::Bind, objection: Some(objection), decision },
            rules: Vec::new(),
            rule: Some(objection.rule),
            confidence: Confidence::Exact,
            knows_options: true,
            with_reuseaddr: None,
        }
    }

    /// The short form.
    #[must_use]
    pub fn alternative(&self) -> Alternative {
        Alternative { outcome: self.outcome, rule: self.rule }
    }

    /// The sockets in the way, each with how it meets the contender and its rule.
    pub fn holders(&self) -> impl Iterator<Item = (&Occupant, &Blocker, Option<Rule>)> {
        self.verdict
            .decision
            .blockers
            .iter()
            .zip(&self.rules)
            .filter_map(|(blocker, rule)| Some((self.port.occupants.get(blocker.occupant)?, blocker, *rule)))
    }

    /// UDP: the socket that decides, where the kernel's order is known.
    #[must_use]
    pub fn decided_by(&self) -> Option<&Occupant> {
        let known = self.outcome == Outcome::Refused && self.knows_options;
        self.verdict.decision.decided_by.filter(|_| known).and_then(|place| self.port.occupants.get(place))
    }

    /// Whether it would succeed for this reason only.
    #[must_use]
    pub fn allowed_by(&self, exemption: Exemption) -> bool {
        self.outcome == Outcome::Success && self.verdict.allowed_by(exemption)
    }

    /// Whether a listen belongs to the question.
    #[must_use]
    pub fn listens(&self, listen: bool) -> bool {
        listen && self.question.transport == Transport::Tcp
    }
}
