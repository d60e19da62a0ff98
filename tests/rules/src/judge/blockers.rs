//! Whether the sockets said to block are those that do. TCP: without another one it is refused as before, with any of
//! them alone still, without them it succeeds. UDP, where the first socket in the kernel's order decides: without all of
//! them it succeeds.

use anyhow::{Context as _, Result};
use reuse_model::{endpoint::Transport, rulebook::Request};

use super::{Answer, Judge, Prediction, Verdict, disagree, shadow::Who};
use crate::world::World;

impl Judge<'_> {
    /// Takes sockets away, one after the other, and asks again each time.
    pub(super) fn try_blockers(
        &mut self,
        world: &mut World<'_>,
        prediction: Prediction,
        pick: usize,
    ) -> Verdict {
        let Some(prediction) = self.without_bystander(world, prediction, pick)? else { return Ok(()) };
        let blockers = prediction.named();
        let removable = |who: &Who| world.room.equipment().sock_destroy || matches!(who, Who::Open(_));
        if blockers.len() < prediction.decision.blockers.len() || !blockers.iter().all(removable) {
            self.tally.blockers_not_removable += 1;
            return Ok(());
        }
        if world.transport == Transport::Tcp && blockers.len() > 1 {
            let last = blockers.get(pick % blockers.len()).copied().context("one of several")?;
            self.with_only(world, &prediction, &blockers, last)?;
        }
        for blocker in blockers {
            take_away(world, blocker)?;
        }
        match self.again(world, &prediction)? {
            Answer::Refused(next) => disagree(format!(
                "every socket said to block is gone, and still it is refused\nbefore: {prediction}\nnow: {next}"
            )),
            Answer::Other => {
                self.tally.blocker_checks += 1;
                Ok(())
            }
        }
    }

    /// Takes away a socket that is not said to block, if there is one that can be: it is refused as before.
    fn without_bystander(
        &mut self,
        world: &mut World<'_>,
        prediction: Prediction,
        pick: usize,
    ) -> Verdict<Option<Prediction>> {
        let bystanders = prediction.bystanders();
        if bystanders.is_empty() {
            return Ok(Some(prediction));
        }
        let bystander = bystanders.get(pick % bystanders.len()).copied().context("one of several")?;
        take_away(world, Who::Open(bystander))?;
        match self.again(world, &prediction)? {
            Answer::Refused(next) => {
                self.tally.bystanders_removed += 1;
                Ok(Some(*next))
            }
            Answer::Other => disagree(format!(
                "{bystander} was said not to block, but without it the call succeeds\n{prediction}"
            )),
        }
    }

    /// Takes away every blocker but one: it is refused still.
    fn with_only(
        &mut self,
        world: &mut World<'_>,
        prediction: &Prediction,
        blockers: &[Who],
        last: Who,
    ) -> Verdict {
        for blocker in blockers.iter().filter(|blocker| **blocker != last) {
            take_away(world, *blocker)?;
        }
        match self.again(world, prediction)? {
            Answer::Refused(next) if next.named() == [last] => Ok(()),
            // Which of several that look alike is left, nobody can say.
            Answer::Refused(next) if matches!((last, &*next.named()), (Who::Ghost(_), [Who::Ghost(_)])) => {
                Ok(())
            }
            Answer::Refused(next) => disagree(format!("only {last} should be left to block\n{next}")),
            // A listener that goes takes along what nobody has accepted from it: the last one, perhaps.
            Answer::Other if matches!(last, Who::Ghost(_)) => Ok(()),
            Answer::Other => disagree(format!(
                "{last} was said to block alone, but the call succeeds with only it there\n{prediction}"
            )),
        }
    }

    /// Makes the call of a prediction once more, unless it has succeeded meanwhile.
    pub(super) fn again(&mut self, world: &mut World<'_>, prediction: &Prediction) -> Verdict<Answer> {
        let slot = prediction.slot;
        let answer = match prediction.request {
            Request::Bind => {
                let entry = world.entries.get(&slot).context("the contender went")?;
                if entry.bound {
                    return Ok(Answer::Other);
                }
                self.bind(world, slot, prediction.address)?
            }
            Request::Listen => self.listen(world, slot)?,
        };
        Ok(answer.context("the contender went")?)
    }
}

pub(super) fn take_away(world: &mut World<'_>, who: Who) -> Result<()> {
    match who {
        Who::Open(slot) => world.close(slot, true).map(drop),
        Who::Ghost(number) => {
            world.destroy(number)?;
            world.let_arrive()
        }
    }
}
