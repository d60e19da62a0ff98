//! Whether what is advised helps: one alternative is applied to every blocker, and the call must succeed.

use anyhow::{Context as _, Result};
use reuse_model::{
    port::Occupant,
    rulebook::{
        Request,
        remedy::{self, Departure, ReuseOption},
    },
};

use super::{Answer, Judge, Prediction, Verdict, disagree, shadow::Who};
use crate::{
    scenario::{Slot, Step, Switch},
    world::World,
};

/// What is to be done about one blocker.
struct Plan {
    who: Who,
    uid: Option<u32>,
    steps: Vec<remedy::Step>,
}

/// What is to be done to the contender, all blockers together.
#[derive(Default)]
struct Contender {
    options: Vec<ReuseOption>,
    uid: Option<u32>,
    anew: bool,
}

impl Judge<'_> {
    /// Applies remedies to all blockers and makes the call again.
    pub(super) fn try_remedies(
        &mut self,
        world: &mut World<'_>,
        prediction: &Prediction,
        pick: usize,
    ) -> Verdict {
        let Some(plans) = self.plan(prediction, pick)? else {
            self.tally.blockers_not_removable += 1;
            return Ok(());
        };
        let mut contender = Contender::default();
        let mut treated = Vec::new();
        for plan in &plans {
            treated.push(apply(world, plan, &mut contender)?);
        }
        let slot = prediction.slot;
        self.tally.remedies += plans.len() as u64;
        let story =
            || plans.iter().map(|plan| format!("\n  {}: {:?}", plan.who, plan.steps)).collect::<String>();
        prepare(world, slot, &contender)?;
        // A socket made anew has not bound yet when `listen` was refused.
        let unbound = world.entries.get(&slot).is_some_and(|entry| !entry.bound);
        if unbound
            && prediction.request == Request::Listen
            && let Some(Answer::Refused(next)) = self.bind(world, slot, prediction.address)?
        {
            return self.judged(&contender, &treated, &next, prediction, &story());
        }
        match self.again(world, prediction)? {
            Answer::Other => Ok(()),
            Answer::Refused(next) => self.judged(&contender, &treated, &next, prediction, &story()),
        }
    }

    /// A remedy is for one holder: under another uid the contender may meet holders that it got along with before.
    fn judged(
        &mut self,
        contender: &Contender,
        treated: &[Option<Who>],
        next: &Prediction,
        before: &Prediction,
        story: &str,
    ) -> Verdict {
        let others = next.named().iter().all(|who| !treated.contains(&Some(*who)));
        if others && contender.uid.is_some() {
            self.tally.remedies_for_others += 1;
            return Ok(());
        }
        disagree(format!("remedies applied:{story}\nand still refused: {next}\nbefore: {before}"))
    }

    /// An alternative for each blocker, such that they do not contradict each other; `None` where it is not known who
    /// one of them is.
    fn plan(&self, prediction: &Prediction, pick: usize) -> Result<Option<Vec<Plan>>> {
        let asked = &prediction.asked;
        let mut plans = Vec::new();
        let mut chosen_uid = None;
        for (number, blocker) in prediction.decision.blockers.iter().enumerate() {
            let Some(who) = prediction.shadow.who(blocker.occupant) else { return Ok(None) };
            let occupant = asked.port.occupants.get(blocker.occupant).context("a blocker out of place")?;
            let mut ways = remedy::alternatives(self.kernel, &asked.contender, occupant);
            ways.retain(|way| !way.contains(&remedy::Step::Elsewhere));
            anyhow::ensure!(!ways.is_empty(), "no remedy for {occupant:?}\n{prediction}");
            let mut steps = ways.swap_remove((pick + number) % ways.len());
            let uid = needed_uid(&steps, asked.contender.uid);
            if uid.is_some() && *chosen_uid.get_or_insert(uid) != uid {
                steps = leave(&ways, occupant, prediction)?;
            }
            plans.push(Plan { who, uid: occupant.uid, steps });
        }
        Ok(Some(plans))
    }
}

/// The uid that the contender must have for a remedy, if that matters: by SO_REUSEPORT sockets share under one only.
fn needed_uid(steps: &[remedy::Step], own: u32) -> Option<u32> {
    let by_port = steps.iter().any(|step| {
        matches!(
            step,
            remedy::Step::HolderSets(ReuseOption::Port)
                | remedy::Step::ContenderSets(ReuseOption::Port)
                | remedy::Step::ProgramLater
        )
    });
    let uid = steps.iter().find_map(|step| match step {
        remedy::Step::ContenderUid(uid) => Some(*uid),
        _ => None,
    });
    uid.or_else(|| by_port.then_some(own))
}

/// The alternative that the holder goes, which every rule has.
fn leave(
    ways: &[Vec<remedy::Step>],
    occupant: &Occupant,
    prediction: &Prediction,
) -> Result<Vec<remedy::Step>> {
    let way = ways.iter().find(|way| matches!(way.as_slice(), [remedy::Step::Leave(_)]));
    way.cloned().with_context(|| format!("no way to go for {occupant:?}\n{prediction}"))
}

/// Does what concerns the holder, and notes what concerns the contender. Gives the holder as it is known afterwards.
fn apply(world: &mut World<'_>, plan: &Plan, contender: &mut Contender) -> Result<Option<Who>> {
    // Whoever accepts one connection may have to accept those before it.
    let mut who = Some(match plan.who {
        Who::Ghost(ghost) => world.accepted(ghost).map_or(plan.who, Who::Open),
        Who::Open(_) => plan.who,
    });
    for step in &plan.steps {
        match (*step, who) {
            (remedy::Step::Accept, Some(Who::Ghost(ghost))) => {
                who = world.accept_ghost(ghost, plan.uid.unwrap_or(0))?.map(Who::Open);
            }
            (remedy::Step::HolderSets(option), Some(Who::Open(slot))) => {
                let set = world.act(Step::Set { slot, option: switch(option), on: true })?;
                anyhow::ensure!(set, "{slot} does not take {option:?}");
            }
            (remedy::Step::ContenderSets(option), _) => contender.options.push(option),
            (remedy::Step::ContenderUid(uid), _) => contender.uid = Some(uid),
            (remedy::Step::ProgramLater, _) => contender.anew = true,
            (remedy::Step::Leave(Departure::StopKernelService), _) => {
                anyhow::bail!("a socket of the kernel's own in a namespace without any");
            }
            (remedy::Step::Leave(_), Some(gone)) => {
                super::blockers::take_away(world, gone)?;
                who = None;
            }
            // A ghost that another remedy has already accepted or taken along.
            (remedy::Step::Accept, Some(Who::Open(_))) | (_, None | Some(Who::Ghost(_))) => {}
            (remedy::Step::Elsewhere, _) => {
                anyhow::bail!("{step:?} is no remedy for {}", plan.who)
            }
        }
    }
    Ok(who)
}

fn prepare(world: &mut World<'_>, slot: Slot, contender: &Contender) -> Result<()> {
    if contender.anew || contender.uid.is_some() {
        world.make_anew(slot, contender.uid)?;
    }
    let entry = world.entries.get(&slot).context("the contender went")?;
    for option in &contender.options {
        entry.set(switch(*option), true).context("setting an option on the contender")?;
    }
    Ok(())
}

fn switch(option: ReuseOption) -> Switch {
    match option {
        ReuseOption::Address => Switch::ReuseAddr,
        ReuseOption::Port => Switch::ReusePort,
    }
}
