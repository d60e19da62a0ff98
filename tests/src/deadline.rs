//! Waiting for a condition, never for luck: poll until it holds or a deadline passes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long to wait for something the daemon is expected to show "at once": generous, so that only a daemon that
/// never shows it fails, not one on a busy machine.
pub const PROMPT: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(5);

/// Polls `attempt` until it gives a value.
///
/// # Errors
/// When `limit` passes first (the message names `what`), or when `attempt` itself fails.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_value_and_names_what_never_came() {
        let mut polls = 0;
        let value = until("third poll", PROMPT, || {
            polls += 1;
            Ok((polls == 3).then_some(polls))
        });
        assert_eq!(value.expect("the third poll gives a value"), 3);

        let missed = until::<()>("a miracle", Duration::ZERO, || Ok(None));
        assert!(missed.expect_err("nothing came").to_string().contains("a miracle"));
    }
}
