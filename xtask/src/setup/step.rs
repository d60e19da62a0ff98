//! One thing to install: what, why, the command a person would type, and the doing.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    process::{render, run},
    setup::Apt,
};

type Work = Box<dyn FnOnce(&mut Apt) -> Result<()>>;

/// A missing thing and the way to bring it.
pub(crate) struct Step {
    what: String,
    why: String,
    shown: String,
    work: Work,
    if_it_fails: Failure,
}

/// What it means when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What it belongs to does not work without it.
    Ends,
    /// Whoever uses it notices its absence and says so, as by a skipped test.
    IsNoticedLater,
}

impl Step {
    /// A step that runs one command.
    pub(crate) fn command(what: String, why: String, mut command: Command) -> Self {
        let shown = render(&command);
        Self::new(what, why, shown, move |_| run(&mut command))
    }

    /// A step that runs `work`; `shown` is the equivalent a person would type.
    pub(crate) fn new(
        what: String,
        why: String,
        shown: String,
        work: impl FnOnce(&mut Apt) -> Result<()> + 'static,
    ) -> Self {
        Self { what, why, shown, work: Box::new(work), if_it_fails: Failure::IsNoticedLater }
    }

    /// The same step with another meaning of its failure.
    #[must_use]
    pub(crate) fn on_failure(self, if_it_fails: Failure) -> Self {
        Self { if_it_fails, ..self }
    }
}

/// Lists the steps with reasons and commands on standard error.
pub(crate) fn show(steps: &[&Step]) {
    for Step { what, why, shown, .. } in steps {
        eprintln!("xtask: missing: {what}\n         for: {why}\n          by: {shown}");
    }
}

/// "1 thing is" or "3 things are".
pub(crate) fn count(steps: usize) -> String {
    match steps {
        1 => "1 thing is".to_owned(),
        n => format!("{n} things are"),
    }
}

/// Takes the steps in order and leaves the list empty. When one fails whose absence is noticed later, the others
/// are still taken.
///
/// # Errors
/// At the first other failure.
pub(crate) fn take(steps: &mut Vec<Step>, apt: &mut Apt) -> Result<()> {
    for Step { what, shown, work, if_it_fails, .. } in steps.drain(..) {
        eprintln!("xtask: installing {what}: {shown}");
        match (work(apt), if_it_fails) {
            (Ok(()), _) => {}
            (Err(error), Failure::IsNoticedLater) => eprintln!("xtask: could not install {what}: {error:#}"),
            (Err(error), Failure::Ends) => bail!(error.context(format!("could not install {what}"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(command: &str) -> Step {
        Step::command("it".into(), "a test".into(), Command::new(command))
    }

    #[test]
    fn a_failure_that_is_noticed_later_does_not_stop_the_rest() {
        let mut steps = vec![step("false"), step("true")];
        assert!(take(&mut steps, &mut Apt::new()).is_ok());
        assert!(steps.is_empty());
    }

    #[test]
    fn a_required_step_that_fails_ends_set_up() {
        let mut steps = vec![step("false").on_failure(Failure::Ends)];
        let error = take(&mut steps, &mut Apt::new()).unwrap_err();
        assert!(format!("{error:#}").starts_with("could not install it: `false` failed"), "{error:#}");
    }
}
