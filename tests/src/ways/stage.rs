//! What the tests of one way after the other have in common: a daemon that tells every refusal, and a namespace in which
//! the calls are made.

use anyhow::{Context as _, Result};

use super::{Way, ledger::Ledger};
use crate::{
    daemon::{Daemon, Shared},
    namespace::Namespace,
};

/// Has a daemon with these flags beside that for every refusal, and makes a namespace; `None` after skipping the test
/// aloud.
///
/// # Errors
/// As [`Daemon::shared`] and [`Namespace::new`].
pub fn begin(purpose: &str, flags: &[&str]) -> Result<Option<(Namespace, Shared)>> {
    let flags = [&["--events.repeats", "all"], flags].concat();
    let Some(daemon) = Daemon::shared(&flags)? else { return Ok(None) };
    Ok(Some((Namespace::new(purpose)?, daemon)))
}

/// Has `calls` made each of these ways in the namespace, and compares what is told of them.
///
/// # Errors
/// When a call does not come to what it must, or is not told.
///
/// # Panics
/// When it is told otherwise.
pub fn each(
    ways: &[Way],
    (namespace, daemon): &(Namespace, Shared),
    calls: impl Fn(&mut Ledger) -> Result<()> + Send + Sync,
) -> Result<()> {
    for way in ways {
        let made = || {
            let made = namespace.run(|| {
                let Some(mut ledger) = Ledger::open(*way)? else { return Ok(None) };
                calls(&mut ledger)?;
                Ok(Some(ledger))
            });
            made?.map_or(Ok(()), |ledger| ledger.settle(daemon))
        };
        made().with_context(|| format!("{way:?}"))?;
    }
    Ok(())
}
