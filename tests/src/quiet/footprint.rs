//! What the daemon takes of the machine while it watches, from begin to end.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{daemon::Daemon, servers::children};

/// Bytes of memory that the daemon may grow by from its second quarter to its last: in the first its memories of what is
/// gone, which last for two minutes, fill.
const MEMORY: u64 = 8 << 20;
/// Series that it may grow by meanwhile: groups and namespaces come and go.
const SERIES: usize = 300;
/// Share of one processor that it may take on average.
const PROCESSOR: f64 = 0.25;
/// Rows of the table.
const ROWS: usize = 12;

/// One look at the daemon.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Since the first one
    pub elapsed: Duration,
    /// Bytes of memory of all its processes (`VmRSS` of proc_pid_status(5))
    pub memory: u64,
    /// Processor time of all its processes since their start
    pub processor: Duration,
    /// Series of a scrape
    pub series: usize,
    /// Events lost
    pub lost: u64,
}

/// The looks of a run.
#[derive(Debug)]
pub struct Footprint {
    start: Instant,
    samples: Vec<Sample>,
}

impl Footprint {
    /// Takes the first look.
    ///
    /// # Errors
    /// As [`Footprint::look`].
    pub fn new(daemon: &Daemon) -> Result<Self> {
        let mut footprint = Self { start: Instant::now(), samples: Vec::new() };
        footprint.look(daemon)?;
        Ok(footprint)
    }

    /// Looks again.
    ///
    /// # Errors
    /// When the daemon does not answer or is gone.
    pub fn look(&mut self, daemon: &Daemon) -> Result<()> {
        let metrics = daemon.metrics()?;
        let processes: Vec<u32> = [daemon.pid()].into_iter().chain(children(daemon.pid())?).collect();
        self.samples.push(Sample {
            elapsed: self.start.elapsed(),
            memory: processes.iter().map(|pid| memory(*pid)).sum::<Result<_>>()?,
            processor: processes.iter().map(|pid| processor(*pid)).sum::<Result<_>>()?,
            series: metrics.len(),
            lost: metrics.count("reuse_daemon_events_lost_total", &[]),
        });
        Ok(())
    }

    /// Checks that it stayed within its bounds.
    ///
    /// # Errors
    /// Which one it did not.
    pub fn check(&self) -> Result<()> {
        let quarter = |number: usize| {
            let length = self.samples.len().div_ceil(4);
            self.samples
                .chunks(length)
                .nth(number)
                .or_else(|| self.samples.chunks(length).last())
                .context("samples")
        };
        let (early, late) = (quarter(1)?, quarter(3)?);
        let (before, after) = (highest(early, |sample| sample.memory), highest(late, |sample| sample.memory));
        if after > before + MEMORY {
            bail!("memory grew from {before} to {after} bytes, by more than {MEMORY}");
        }
        let (before, after) = (highest(early, |sample| sample.series), highest(late, |sample| sample.series));
        if after > before + SERIES {
            bail!("series grew from {before} to {after}, by more than {SERIES}");
        }
        let (first, last) = self.ends()?;
        let share = share(first, last);
        if share > PROCESSOR {
            bail!("took {share:.3} of a processor, more than {PROCESSOR}");
        }
        if last.lost > 0 {
            bail!("{} events lost", last.lost);
        }
        Ok(())
    }

    fn ends(&self) -> Result<(&Sample, &Sample)> {
        self.samples.first().zip(self.samples.last()).context("no samples")
    }
}

/// The table of the run.
impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>8} {:>10} {:>10} {:>8} {:>6}", "seconds", "MiB", "processor", "series", "lost")?;
        let step = self.samples.len().saturating_sub(1).div_ceil(ROWS).max(1);
        let mut rows: Vec<&Sample> = self.samples.iter().step_by(step).collect();
        if !self.samples.len().saturating_sub(1).is_multiple_of(step) {
            rows.extend(self.samples.last());
        }
        for pair in rows.windows(2) {
            let &[before, now] = pair else { continue };
            writeln!(
                f,
                "{:>8} {:>10.1} {:>9.1}% {:>8} {:>6}",
                now.elapsed.as_secs(),
                mebibytes(now.memory),
                100.0 * share(before, now),
                now.series,
                now.lost
            )?;
        }
        Ok(())
    }
}

fn highest<T: Ord + Default>(samples: &[Sample], value: impl Fn(&Sample) -> T) -> T {
    samples.iter().map(value).max().unwrap_or_default()
}

/// Share of one processor between two looks.
fn share(before: &Sample, now: &Sample) -> f64 {
    let used = now.processor.saturating_sub(before.processor).as_secs_f64();
    used / now.elapsed.saturating_sub(before.elapsed).as_secs_f64().max(0.001)
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn memory(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes = line.trim().strip_suffix(" kB").context("VmRSS without its unit")?;
    Ok(kibibytes.parse::<u64>().context("VmRSS")? << 10)
}

fn processor(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).context(path)?;
    // proc_pid_stat(5): after the last parenthesis come the fields from the third on; utime is the 14th, stime the next.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    // Ticks of 10 ms on every kernel that the daemon runs on (`USER_HZ`).
    Ok(Duration::from_millis(10 * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(memory: impl Fn(u64) -> u64, series: usize, processor: u64) -> Footprint {
        let sample = |number: u64| Sample {
            elapsed: Duration::from_secs(number),
            memory: memory(number),
            processor: Duration::from_millis(number * processor),
            series: if number > 60 { series } else { 100 },
            lost: 0,
        };
        Footprint { start: Instant::now(), samples: (0..=80).map(sample).collect() }
    }

    #[test]
    fn what_fills_at_first_is_no_growth_and_what_goes_on_is() {
        let fills = |number: u64| (20 + number.min(15)) << 20;
        let grows = |number: u64| (20 + number / 2) << 20;
        run(fills, 100, 10).check().expect("within its bounds");
        let said = |run: Footprint| run.check().expect_err("beyond its bounds").to_string();
        assert!(said(run(grows, 100, 10)).contains("memory"));
        assert!(said(run(fills, 500, 10)).contains("series"));
        assert!(said(run(fills, 100, 300)).contains("processor"));
    }

    #[test]
    fn the_table_ends_with_the_last_look() {
        let text = run(|_| 20 << 20, 100, 10).to_string();
        let last = text.lines().last().expect("a row");
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["80", "20.0", "1.0%", "100", "0"]);
        assert!(text.lines().count() <= ROWS + 2, "{text}");
    }
}
