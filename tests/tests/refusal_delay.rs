//! How soon a refusal is in the metrics while ten thousand arrive each second.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    daemon::Daemon,
    deadline, effort,
    metrics::Metrics,
    sockets::{self, Transport, result_name},
};
use socket2::SockAddr;

const PER_MILLISECOND: u32 = 10;
const SECONDS: u32 = 5;
/// The bucket at or below which 99 of 100 must be; the target is 3 ms, and the next buckets are 2.5 and 5 ms.
const LIMIT: f64 = 0.005;
/// What else the machine does delays the daemon as well: one quiet attempt of these is enough.
const ATTEMPTS: usize = 3;

/// The histogram's buckets: upper bound in seconds, and how many were at or below it.
fn buckets(metrics: &Metrics) -> Result<Vec<(f64, u64)>> {
    let series = metrics.series("reuse_daemon_event_delay_seconds_bucket", &[]);
    let mut buckets = series
        .map(|(labels, _)| {
            let text = labels.get("le").context("a bucket without le")?;
            let bound = if text == "+Inf" { f64::INFINITY } else { text.parse()? };
            Ok((bound, metrics.count("reuse_daemon_event_delay_seconds_bucket", &[("le", text)])))
        })
        .collect::<Result<Vec<_>>>()?;
    buckets.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    Ok(buckets)
}

fn lost(metrics: &Metrics) -> u64 {
    metrics.count("reuse_daemon_events_lost_total", &[])
}

/// Has binds refused at an even pace: how long it took.
fn refuse(address: SocketAddr, per_millisecond: u32) -> Result<Duration> {
    let contender = sockets::open(Transport::Tcp, address.ip())?;
    let address = SockAddr::from(address);
    let start = Instant::now();
    for millisecond in 0..1_000 * SECONDS {
        for _ in 0..per_millisecond {
            assert_eq!(result_name(&contender.bind(&address)), "EADDRINUSE");
        }
        let due = start + Duration::from_millis(u64::from(millisecond) + 1);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(start.elapsed())
}

/// Five seconds of refusals: the least bucket with 99 of 100 delays.
fn measure(daemon: &Daemon, address: SocketAddr) -> Result<f64> {
    let labels = [("protocol", "tcp"), ("errno", "EADDRINUSE"), ("rule", "holder_is_listening")];
    let refused = |metrics: &Metrics| metrics.count("reuse_bind_refusals_total", &labels);
    let before = daemon.metrics()?;
    let per_millisecond = effort::fewer(PER_MILLISECOND, "refusals a millisecond");
    let refusals = per_millisecond * 1_000 * SECONDS;
    let took = refuse(address, per_millisecond)?;
    let after = daemon.metrics_until("every refusal", |now| {
        (refused(now) >= refused(&before) + u64::from(refusals)).then(|| now.clone())
    })?;
    assert_eq!(lost(&after) - lost(&before), 0, "events lost");

    let counts: Vec<(f64, u64)> = buckets(&after)?
        .into_iter()
        .zip(buckets(&before)?)
        .map(|((bound, now), (_, then))| (bound, now - then))
        .collect();
    let (_, all) = *counts.last().context("a last bucket")?;
    println!("{refusals} refusals in {took:?}; {all} delays, at most:");
    for (bound, count) in &counts {
        println!("  {bound:>8} s: {count:>6} ({:.3} %)", 100.0 * share(*count, all));
    }
    assert!(all >= u64::from(refusals), "one delay for each refusal, {all} counted");
    let quantile = counts.iter().find(|(_, count)| share(*count, all) >= 0.99).context("a quantile")?.0;
    println!("the 99th percentile is at most {quantile} s");
    Ok(quantile)
}

#[test]
fn ten_thousand_refusals_a_second_are_told_in_milliseconds() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-holder")?;
    let port = actor.run("h = listening('127.0.0.1', 0); answer = h.getsockname()[1]")?;
    let port = u16::try_from(port.as_u64().context("a port")?)?;
    // An emulated machine is slow, and waits besides for its turn among what else its host does.
    let limit = LIMIT * f64::from(deadline::slowness()).powi(2);
    let mut quantiles = Vec::new();
    while quantiles.len() < ATTEMPTS {
        quantiles.push(measure(&daemon, (Ipv4Addr::LOCALHOST, port).into())?);
        if quantiles.last().is_some_and(|quantile| *quantile <= limit) {
            return Ok(());
        }
    }
    anyhow::bail!("99th percentiles above {limit} s: {quantiles:?}")
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
fn share(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
}
