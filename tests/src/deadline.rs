//! Waiting for a condition, never for luck: poll until it holds or a deadline passes.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long to wait for something the daemon is expected to show "at once": generous, so that only a daemon that
/// never shows it fails, not one on a busy machine.
pub const PROMPT: Duration = Duration::from_secs(5);

/// Environment variable with how many times slower than a usual one this machine is: an emulated one is.
pub const SLOWNESS: &str = "REUSE_TESTS_SLOWNESS";

/// Between two looks. A slow machine looks as many times less often: there a look takes as many times longer, from the one
/// that is waited for.
const POLL: Duration = Duration::from_millis(5);

/// Between two looks passes at least this part of the wait so far: it ends later by no more than that, and the processor is spared
/// thousands of looks at what comes after ten seconds.
const PART: u32 = 20;

/// How many times slower than a usual machine this one is said to be: 1 unless [`SLOWNESS`] says otherwise.
#[must_use]
pub fn slowness() -> u8 {
    static SLOW: LazyLock<u8> = LazyLock::new(|| {
        let said = std::env::var(SLOWNESS).ok().and_then(|text| text.parse().ok());
        said.unwrap_or(1).max(1)
    });
    *SLOW
}

/// A time as long as it takes on a machine as slow as this one is said to be.
#[must_use]
pub fn scaled(time: Duration) -> Duration {
    time * u32::from(slowness())
}

/// Whether work has waited for a processor more than half of the last ten seconds: then nothing is as fast as it is, and a
/// time is no measure. Without `/proc/pressure` nobody knows, and it has not.
fn is_machine_busy() -> bool {
    let pressure = std::fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let share = pressure
        .split_once("some avg10=")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    share.is_some_and(|percent| percent > 50.0)
}

/// Checks that something took no longer than `limit`, as far as the machine lets that be known.
///
/// # Errors
/// When it took longer on a machine that had time.
pub fn ensure_within(what: &str, limit: Duration, took: Duration) -> Result<()> {
    if took > scaled(limit) {
        if !is_machine_busy() {
            bail!("late, after {took:?}: {what}");
        }
        eprintln!("after {took:?} on a machine too busy to tell how fast it is: {what}");
    }
    Ok(())
}

/// Polls `attempt` until it gives a value. On a machine that is said to be slow, `limit` is as many times longer.
///
/// # Errors
/// When `limit` passes first (the message names `what`), or when `attempt` itself fails.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    let limit = scaled(limit);
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(scaled(POLL).max(start.elapsed() / PART));
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
