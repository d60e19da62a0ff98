//! Wall time for moments since boot: the only place that reads a clock for the records and metrics.
//!
//! The kernel programs stamp events with `CLOCK_BOOTTIME`, which never jumps; people and Prometheus want
//! `CLOCK_REALTIME`, which does. The distance between the two is read often enough that a stepped clock shows
//! within a second.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use reuse_model::event::Moment;

/// How old a distance may be before it is read again, nanoseconds.
const KEEP: u64 = 1_000_000_000;
/// A distance that differs by less is the same one, nanoseconds: else one moment would be told with two times.
const STEP: u64 = 1_000_000;
/// Tries to read both clocks without being interrupted between them.
const TRIES: usize = 4;

/// The distance from `CLOCK_BOOTTIME` to `CLOCK_REALTIME`. Shared freely: whoever finds it old reads it again.
#[derive(Debug)]
pub struct Clock {
    /// `CLOCK_REALTIME` - `CLOCK_BOOTTIME`, nanoseconds
    offset: AtomicI64,
    /// When it was read, nanoseconds since boot
    read_at: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::read()
    }
}

impl Clock {
    /// A clock that was read now.
    #[must_use]
    pub fn read() -> Self {
        let (offset, read_at) = distance();
        Self { offset: offset.into(), read_at: read_at.into() }
    }

    /// Now, since boot.
    #[must_use]
    pub fn now() -> Moment {
        Moment(since_boot())
    }

    /// Wall time of `at`. The distance is read again where `at` is more than a second younger than the last reading.
    pub fn wall(&self, at: Moment) -> Timestamp {
        if at.0.saturating_sub(self.read_at.load(Relaxed)) > KEEP {
            let (offset, read_at) = distance();
            if offset.abs_diff(self.offset.load(Relaxed)) >= STEP {
                self.offset.store(offset, Relaxed);
            }
            self.read_at.store(read_at, Relaxed);
        }
        let wall = i128::from(at.0) + i128::from(self.offset.load(Relaxed));
        Timestamp::from_nanosecond(wall).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// `at` as RFC 3339 with microseconds, UTC.
    #[must_use]
    pub fn rfc3339(&self, at: Moment) -> String {
        format!("{:.6}", self.wall(at))
    }

    /// Seconds since the epoch at `at`, to the microsecond.
    #[must_use]
    pub fn unix_seconds(&self, at: Moment) -> f64 {
        self.wall(at).as_microsecond() as f64 / 1e6
    }
}

/// Reads both clocks, keeping the try whose two readings of `CLOCK_BOOTTIME` lay closest together: the distance, and
/// when it was read.
fn distance() -> (i64, u64) {
    let mut best: Option<(u64, i64, u64)> = None;
    for _ in 0..TRIES {
        let before = since_boot();
        let real = nanoseconds(ClockId::CLOCK_REALTIME);
        let after = since_boot();
        let gap = after.saturating_sub(before);
        if best.is_none_or(|(smallest, _, _)| gap < smallest) {
            best = Some((gap, real.saturating_sub_unsigned(before + gap / 2), after));
        }
    }
    best.map_or((0, 0), |(_, offset, read_at)| (offset, read_at))
}

fn since_boot() -> u64 {
    u64::try_from(nanoseconds(ClockId::CLOCK_BOOTTIME)).unwrap_or(0)
}

/// Reads a clock; 0 where the kernel refuses, which it does for no clock named here (all since Linux 2.6.39). Enough
/// until the year 2262.
fn nanoseconds(clock: ClockId) -> i64 {
    clock_gettime(clock)
        .map_or(0, |time| time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_since_boot_is_now_on_the_wall() {
        let wall = Clock::read().wall(Clock::now());
        let apart = wall.duration_since(Timestamp::now()).as_nanos().unsigned_abs();
        assert!(apart < 50_000_000, "{apart} ns apart");
    }

    #[test]
    fn the_distance_is_read_again_only_when_old() {
        let clock = Clock { offset: 0.into(), read_at: 0.into() };
        assert_eq!(clock.rfc3339(Moment(1_000_000_000)), "1970-01-01T00:00:01.000000Z");
        assert!(clock.wall(Moment(1_000_000_001)).as_second() > 1_000_000_000, "read again");
    }

    #[test]
    fn microseconds_are_always_there() {
        let clock = Clock { offset: 1_800_000_000_000_000_000.into(), read_at: 0.into() };
        assert_eq!(clock.rfc3339(Moment(123_456_789)), "2027-01-15T08:00:00.123456Z");
        assert!((clock.unix_seconds(Moment(123_456_789)) - 1_800_000_000.123_456).abs() < 1e-6);
    }
}
