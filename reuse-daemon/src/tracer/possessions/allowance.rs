//! How much time may go into walks: for all, and for each process that causes them.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use reuse_model::hash::NumberMap;

/// Share of the time that all walks together may take.
const SHARE: f64 = 0.02;
/// Share that one process may cause.
const SHARE_OF_ONE: f64 = 0.005;
/// What may be saved up, for all and for one: on a host with few open files a hundred walks.
const SAVED: Duration = Duration::from_millis(100);
const SAVED_OF_ONE: Duration = Duration::from_millis(25);
/// Most processes whose use is remembered.
const PROCESSES_MAX: usize = 1024;

/// Time that fills up at a share of real time, to a bound, and is spent; debts are paid off first.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    seconds: f64,
    filled: Instant,
}

impl Allowance {
    fn full(saved: Duration, now: Instant) -> Self {
        Self { seconds: saved.as_secs_f64(), filled: now }
    }

    fn fill(&mut self, share: f64, saved: Duration, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.seconds = (self.seconds + share * passed).min(saved.as_secs_f64());
        self.filled = now;
    }

    fn is_left(&self) -> bool {
        self.seconds > 0.0
    }
}

/// The allowance of all, and those of single processes.
#[derive(Debug)]
pub(super) struct Allowances {
    all: Allowance,
    of_process: NumberMap<u32, Allowance>,
}

impl Allowances {
    pub(super) fn new(now: Instant) -> Self {
        Self { all: Allowance::full(SAVED, now), of_process: NumberMap::default() }
    }

    /// Whether a walk for a process may begin.
    pub(super) fn allow(&mut self, pid: u32, now: Instant) -> bool {
        self.all.fill(SHARE, SAVED, now);
        if self.of_process.len() >= PROCESSES_MAX && !self.of_process.contains_key(&pid) {
            self.of_process.clear();
        }
        let one = self.of_process.entry(pid).or_insert_with(|| Allowance::full(SAVED_OF_ONE, now));
        one.fill(SHARE_OF_ONE, SAVED_OF_ONE, now);
        self.all.is_left() && one.is_left()
    }

    /// Takes what a walk took.
    pub(super) fn spend(&mut self, pid: u32, took: Duration) {
        self.all.seconds -= took.as_secs_f64();
        if let Some(one) = self.of_process.get_mut(&pid) {
            one.seconds -= took.as_secs_f64();
        }
    }
}

/// Time that the calling thread has been running for: on a busy machine a walk waits for longer than it works.
pub(super) fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_in_a_loop_does_not_use_up_what_others_have() {
        let start = Instant::now();
        let mut allowances = Allowances::new(start);
        let walk = Duration::from_millis(1);
        let mut walks = 0;
        for step in 0..1000 {
            if allowances.allow(7, start + step * walk) {
                allowances.spend(7, walk);
                walks += 1;
            }
        }
        assert!((25..=35).contains(&walks), "{walks} walks in a second: 25 saved up and half a per cent");
        assert!(allowances.allow(8, start + 1000 * walk), "another process");
    }

    #[test]
    fn many_processes_together_are_bounded_as_well() {
        let start = Instant::now();
        let mut allowances = Allowances::new(start);
        let walk = Duration::from_millis(1);
        let walks = (0..1000_u32).filter(|pid| {
            let now = start + *pid * walk;
            let allowed = allowances.allow(*pid, now);
            if allowed {
                allowances.spend(*pid, walk);
            }
            allowed
        });
        let walks = walks.count();
        assert!((100..=125).contains(&walks), "{walks} walks in a second: 100 saved up and two per cent");
    }
}
