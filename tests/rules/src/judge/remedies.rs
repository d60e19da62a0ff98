//! Whether what is advised helps: one alternative is applied to every blocker, and the call must succeed.

use anyhow::{Context as _, Result};
use reuse_model::rulebook::{
    Request,
    remedy::{self, Departure, ReuseOption},
};

use super::{Answer, Judge, Prediction, Verdict, disagree, shadow::Who};
use crate::{
    room::Equipment,
    scenario::{Slot, Step, Switch},
    world::World,
};

/// What is to be done about one blocker.
struct Plan {
    who: Who,
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
        let Some(plans) = self.plan(prediction, pick, world.room.equipment())? else {
            self.tally.blockers_not_removable += 1;
            return Ok(());
        };
        let mut contender = Contender::default();
        for plan in &plans {
            apply(world, plan, &mut contender)?;
        }
        let slot = prediction.slot;
        self.tally.remedies += plans.len() as u64;
        let refused = |next: &Prediction| {
            let story: String =
                plans.iter().map(|plan| format!("\n  {}: {:?}", plan.who, plan.steps)).collect();
            disagree(format!("remedies applied:{story}\nand still refused: {next}\nbefore: {prediction}"))
        };
        prepare(world, slot, &contender)?;
        // A socket made anew has not bound yet when `listen` was refused.
        let unbound = world.entries.get(&slot).is_some_and(|entry| !entry.bound);
        if unbound
            && prediction.request == Request::Listen
            && let Some(Answer::Refused(next)) = self.bind(world, slot, prediction.address)?
        {
            return refused(&next);
        }
        match self.again(world, prediction)? {
            Answer::Other => Ok(()),
            Answer::Refused(next) => refused(&next),
        }
    }

    /// An alternative for each blocker; `None` where it is not known who one of them is, or it cannot be taken away.
    fn plan(&self, prediction: &Prediction, pick: usize, equipment: Equipment) -> Result<Option<Vec<Plan>>> {
        let (asked, blockers) = (&prediction.asked, &prediction.decision.blockers);
        let ways = remedy::alternatives_together(self.kernel, &asked.contender, &asked.port, blockers);
        let mut plans = Vec::new();
        for (number, (blocker, mut ways)) in blockers.iter().zip(ways).enumerate() {
            let Some(who) = prediction.shadow.who(blocker.occupant) else { return Ok(None) };
            ways.retain(|way| !way.contains(&remedy::Step::Elsewhere));
            anyhow::ensure!(!ways.is_empty(), "no remedy for {who}\n{prediction}");
            if !equipment.sock_destroy && matches!(who, Who::Ghost(_)) {
                ways.retain(|way| !way.iter().any(|step| matches!(step, remedy::Step::Leave(_))));
            }
            if ways.is_empty() {
                return Ok(None);
            }
            let steps = ways.swap_remove((pick + number) % ways.len());
            plans.push(Plan { who, steps });
        }
        Ok(Some(plans))
    }
}

/// Does what concerns the holder, and notes what concerns the contender.
fn apply(world: &mut World<'_>, plan: &Plan, contender: &mut Contender) -> Result<()> {
    // Whoever accepts one connection may have to accept those before it.
    let mut who = Some(match plan.who {
        Who::Ghost(ghost) => world.accepted(ghost).map_or(plan.who, Who::Open),
        Who::Open(_) => plan.who,
    });
    for step in &plan.steps {
        match (*step, who) {
            (remedy::Step::Accept, Some(Who::Ghost(ghost))) => {
                who = world.accept_ghost(ghost)?.map(Who::Open);
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
    Ok(())
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
