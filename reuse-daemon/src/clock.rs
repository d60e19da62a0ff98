//! Wall time for moments since boot: the only place that reads a clock for the records and metrics.
//!
//! The kernel programs stamp events with `CLOCK_BOOTTIME`, which never jumps; people and Prometheus want
//! `CLOCK_REALTIME`, which does. The distance between the two is read often enough that a stepped clock shows
//! within a second.

use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use reuse_model::event::Moment;

/// How old a distance may be before it is read again.
const KEEP: Duration = Duration::from_secs(1);
/// Tries to read both clocks without being interrupted between them.
const TRIES: usize = 4;

/// The distance from `CLOCK_BOOTTIME` to `CLOCK_REALTIME` and when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// `CLOCK_REALTIME` - `CLOCK_BOOTTIME`, nanoseconds
    offset: i128,
    /// When it was read
    read_at: Moment,
}

impl Default for Clock {
    fn default() -> Self {
        Self::read()
    }
}

impl Clock {
    /// Reads both clocks, keeping the try whose two readings of `CLOCK_BOOTTIME` lay closest together.
    #[must_use]
    pub fn read() -> Self {
        let mut best: Option<(i128, Self)> = None;
        for _ in 0..TRIES {
            let before = nanoseconds(ClockId::CLOCK_BOOTTIME);
            let real = nanoseconds(ClockId::CLOCK_REALTIME);
            let after = nanoseconds(ClockId::CLOCK_BOOTTIME);
            let gap = after - before;
            if best.as_ref().is_none_or(|(smallest, _)| gap < *smallest) {
                best = Some((gap, Self { offset: real - before - gap / 2, read_at: moment(after) }));
            }
        }
        best.map_or(Self { offset: 0, read_at: Moment(0) }, |(_, clock)| clock)
    }

    /// Now, since boot.
    #[must_use]
    pub fn now() -> Moment {
        moment(nanoseconds(ClockId::CLOCK_BOOTTIME))
    }

    /// Wall time of `at`, the distance read again where `at` is more than a second younger than the last reading.
    pub fn wall(&mut self, at: Moment) -> Timestamp {
        if at.0.saturating_sub(self.read_at.0) > KEEP.as_nanos() as u64 {
            *self = Self::read();
        }
        self.wall_as_read(at)
    }

    /// Wall time of `at` by the distance as it was read.
    #[must_use]
    pub fn wall_as_read(&self, at: Moment) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(at.0) + self.offset).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Seconds since the epoch at `at`, by the distance as it was read.
    #[must_use]
    pub fn unix_seconds(&self, at: Moment) -> f64 {
        self.wall_as_read(at).as_microsecond() as f64 / 1e6
    }
}

/// Reads a clock; 0 where the kernel refuses, which it does for no clock named here (all since Linux 2.6.39).
fn nanoseconds(clock: ClockId) -> i128 {
    clock_gettime(clock)
        .map_or(0, |time| i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()))
}

/// A reading of `CLOCK_BOOTTIME` as a moment.
fn moment(nanoseconds: i128) -> Moment {
    Moment(u64::try_from(nanoseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_since_boot_is_now_on_the_wall() {
        let wall = Clock::read().wall_as_read(Clock::now());
        let apart = wall.duration_since(Timestamp::now()).as_nanos().unsigned_abs();
        assert!(apart < 50_000_000, "{apart} ns apart");
    }

    #[test]
    fn the_distance_is_read_again_only_when_old() {
        let long_ago = Clock { offset: 0, read_at: Moment(0) };
        let mut clock = long_ago;
        assert_eq!(clock.wall(Moment(1_000_000_000)), Timestamp::from_second(1).expect("in range"));
        assert!(clock.wall(Moment(1_000_000_001)).as_second() > 1_000_000_000, "read again");
    }
}
