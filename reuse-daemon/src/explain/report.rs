//! The answers as the report that is printed.

use std::sync::Arc;

use nix::net::if_::if_indextoname;
use reuse_model::{
    conflict::{Held, Possession},
    refusal::{Holder, Rule, errno_name},
    report::{
        AnswerReport, Context as _, ExplainReport, HolderReport, Outcome, QuestionReport, SCHEMA, View,
    },
    rulebook::Exemption,
    socket::NetNs,
    text::escape,
};

use super::{Explainer, answer::Answer, owners::Owners, weak::knows_v6only};
use crate::owner::shown::Shown;

/// What the answers have in common.
pub(crate) struct Frame<'a> {
    /// The words of the command line
    pub(crate) asked: &'a str,
    /// The network namespace
    pub(crate) netns: NetNs,
    /// Names
    pub(crate) names: &'a Shown<'a>,
}

impl Frame<'_> {
    /// The report, with the owners of the holders as they are now.
    pub(crate) fn report(&self, explainer: &mut Explainer, answers: &[Answer]) -> ExplainReport {
        let inodes: Vec<_> =
            answers.iter().flat_map(Answer::holders).map(|(occupant, ..)| occupant.inode).collect();
        let owners = Owners::of(&inodes, &mut explainer.source);
        let answers = answers.iter().map(|answer| self.answer(explainer, answer, &owners)).collect();
        ExplainReport { schema: SCHEMA, answers }
    }

    fn answer(&self, explainer: &Explainer, answer: &Answer, owners: &Owners) -> AnswerReport {
        let holders = answer.holders().map(|(occupant, blocker, rule)| {
            let holder = Holder { occupant: occupant.clone(), rule: blocker.rule, overlap: blocker.overlap };
            self.holder(answer, holder, rule, owners)
        });
        let is_refused = answer.outcome == Outcome::Refused;
        AnswerReport {
            question: self.question(explainer, answer),
            outcome: answer.outcome,
            phase: answer.verdict.phase,
            errno: answer.verdict.errno().filter(|_| is_refused).map(errno_name),
            rule: answer.rule,
            confidence: answer.confidence,
            allowed_by_bucket_cache: answer.allowed_by(Exemption::BucketCache),
            allowed_by_scan_order: answer.allowed_by(Exemption::ScanOrder),
            holders: holders.collect(),
            decided_by: answer
                .decided_by()
                .map(|holder| if holder.inode.0 == 0 { holder.cookie.0 } else { holder.inode.0 }),
            truncated: answer.port.truncated,
            remedy: answer.remedy.clone(),
            with_reuseaddr: answer.with_reuseaddr,
        }
    }

    fn question(&self, explainer: &Explainer, answer: &Answer) -> QuestionReport {
        let (question, contender) = (&answer.question, &answer.contender);
        // Where no socket could be made, the device is what was asked for.
        let asked_device = question.scope().or(explainer.options.device.as_deref());
        let asked_device = asked_device.filter(|_| answer.around.is_none());
        QuestionReport {
            asked: escape(self.asked.as_bytes()).into_owned(),
            protocol: question.transport,
            family: contender.family,
            address: question.address,
            port: question.port,
            reuseaddr: contender.reuse.is_set(),
            reuseport: contender.reuseport,
            v6only: contender.v6only,
            device: device_name(contender.device)
                .or_else(|| asked_device.map(|name| Arc::from(escape(name.as_bytes())))),
            uid: contender.uid,
            may_bind_privileged: explainer.asker.may_bind_privileged,
            listen: answer.listens(explainer.listen),
            netns: self.netns.0,
            netns_name: self.names.netns_name(self.netns),
        }
    }

    /// A holder with who has it; what could not be read is null.
    fn holder(&self, answer: &Answer, holder: Holder, rule: Option<Rule>, owners: &Owners) -> HolderReport {
        let knows_v6only = answer.knows_options || knows_v6only(&holder.occupant);
        let device = device_name(holder.occupant.device);
        let possession = Possession { device, ..owners.possession(holder.occupant.inode) };
        let held = Held { holder, possession };
        let mut report = HolderReport::new(&held, answer.question.port, self.netns, self.names, View::Local);
        report.rule = rule;
        if !answer.knows_options {
            (report.reuseaddr, report.reuseport) = (None, None);
        }
        report.v6only = report.v6only.filter(|_| knows_v6only);
        for owner in &mut report.owners {
            owner.cmdline = owners.command_line(owner.pid);
        }
        report
    }
}

/// Name of a device of the calling thread's namespace, by number where it is gone; `None` for none.
fn device_name(index: u32) -> Option<Arc<str>> {
    if index == 0 {
        return None;
    }
    Some(
        if_indextoname(index)
            .map_or_else(|_| Arc::from(format!("if{index}")), |name| Arc::from(escape(name.as_bytes()))),
    )
}
