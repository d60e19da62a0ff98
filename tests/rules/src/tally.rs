//! What a run did, counted.

use std::{collections::BTreeMap, fmt, ops::AddAssign};

use reuse_model::rulebook::{Decision, Exemption};

/// Counts of one thread, or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) scenarios: u64,
    /// Steps that did something
    pub(crate) steps: u64,
    pub(crate) binds: u64,
    pub(crate) listens: u64,
    /// Binds whose listen was predicted before
    pub(crate) listens_foretold: u64,
    /// Decisions by other sockets, refused, by the rule of each blocker
    refused: BTreeMap<&'static str, u64>,
    refusals: u64,
    allowed: u64,
    by_bucket_cache: u64,
    by_scan_order: u64,
    by_repair: u64,
    /// Refusals whose blockers were taken away
    pub(crate) blocker_checks: u64,
    /// Sockets taken away that were not said to block
    pub(crate) bystanders_removed: u64,
    pub(crate) blockers_not_removable: u64,
    /// Holders to which a remedy was applied
    pub(crate) remedies: u64,
    pub(crate) predictions: u64,
    /// More than predictions where a connection was still on its way
    pub(crate) readings: u64,
    /// Scenarios given up because a port changed between reading and call
    pub(crate) raced: u64,
    pub(crate) disagreements: u64,
}

impl Tally {
    /// Counts a decision that the kernel agreed with.
    pub(crate) fn decided(&mut self, decision: &Decision) {
        if !decision.refused {
            self.allowed += 1;
            match decision.exemption {
                Some(Exemption::BucketCache) => self.by_bucket_cache += 1,
                Some(Exemption::ScanOrder) => self.by_scan_order += 1,
                Some(Exemption::Repair) => self.by_repair += 1,
                None => {}
            }
            return;
        }
        self.refusals += 1;
        for blocker in &decision.blockers {
            *self.refused.entry(blocker.rule.as_str()).or_default() += 1;
        }
    }
}

impl Tally {
    /// One line for whoever reads no more.
    pub(crate) fn verdict(&self) -> String {
        let Self { scenarios, predictions, raced, disagreements, .. } = self;
        format!(
            "{scenarios} scenarios agree, {disagreements} disagree, {raced} given up for a race; {predictions} predictions"
        )
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        for (rule, count) in other.refused {
            *self.refused.entry(rule).or_default() += count;
        }
        let pairs = [
            (&mut self.scenarios, other.scenarios),
            (&mut self.steps, other.steps),
            (&mut self.binds, other.binds),
            (&mut self.listens, other.listens),
            (&mut self.listens_foretold, other.listens_foretold),
            (&mut self.refusals, other.refusals),
            (&mut self.allowed, other.allowed),
            (&mut self.by_bucket_cache, other.by_bucket_cache),
            (&mut self.by_scan_order, other.by_scan_order),
            (&mut self.by_repair, other.by_repair),
            (&mut self.blocker_checks, other.blocker_checks),
            (&mut self.bystanders_removed, other.bystanders_removed),
            (&mut self.blockers_not_removable, other.blockers_not_removable),
            (&mut self.remedies, other.remedies),
            (&mut self.predictions, other.predictions),
            (&mut self.readings, other.readings),
            (&mut self.raced, other.raced),
            (&mut self.disagreements, other.disagreements),
        ];
        for (sum, count) in pairs {
            *sum += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} scenarios, {} steps, {} binds, {} listens",
            self.scenarios, self.steps, self.binds, self.listens
        )?;
        writeln!(
            f,
            "decided by other sockets: {} refused; {} allowed, of them {} by the bucket cache, {} by scan order, \
             {} by TCP_REPAIR",
            self.refusals, self.allowed, self.by_bucket_cache, self.by_scan_order, self.by_repair
        )?;
        writeln!(f, "{} listens foretold before the bind", self.listens_foretold)?;
        for (rule, count) in &self.refused {
            writeln!(f, "  blockers by rule {rule}: {count}")?;
        }
        writeln!(
            f,
            "{} blocker checks, {} others removed, {} blockers that could not be; {} remedies applied",
            self.blocker_checks, self.bystanders_removed, self.blockers_not_removable, self.remedies
        )?;
        writeln!(
            f,
            "{} predictions from {} readings of the port (again while a connection settles)",
            self.predictions, self.readings
        )?;
        write!(f, "{} scenarios given up for a race, {} disagreements", self.raced, self.disagreements)
    }
}
