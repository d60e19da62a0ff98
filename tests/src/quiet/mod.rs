//! What servers do every day: they reload under load, fork, restart, crash, share multicast ports. None of it may look like
//! somebody taking a port, so that none of it may raise a signal above `info`.
//!
//! Each act is one kind of server with network namespaces, processes and clients of its own; all acts play at once until
//! time is over. The test does so for a minute, the soak for as long as one likes.

mod activation;
mod caddy;
mod containers;
mod crash;
mod dns;
mod footprint;
mod haproxy;
mod heard;
mod load;
mod mdns;
mod multicast;
mod nginx;
mod prefork;
mod script;
mod ssdp;
mod stage;

use std::{panic::resume_unwind, thread, time::Duration};

use anyhow::{Context as _, Result};

pub use self::{
    footprint::{Footprint, Sample},
    heard::Heard,
    stage::{Played, Stage},
};

/// An act plays until the stage is over.
type Act = fn(&Stage) -> Result<Played>;

const ACTS: &[(&str, Act)] = &[
    ("nginx reloads and restarts", nginx::play),
    ("HAProxy reloads and restarts", haproxy::play),
    ("a pre-forking server replaces its workers", prefork::play),
    ("one Go server gives way to the next", caddy::play),
    ("a service is started by its socket", activation::play),
    ("a service is started by systemd-socket-activate", activation::play_packaged),
    ("resolvers and forwarders side by side", dns::play),
    ("mDNS responders of several users", mdns::play),
    ("SSDP listeners of several users", ssdp::play),
    ("containers with one port each", containers::play),
    ("a service crashes on and on", crash::play),
];

/// Plays every act at once until the stage is over, and calls `watch` about once a second meanwhile; it is the end for all once
/// one act, or `watch`, fails. What each came to.
///
/// # Errors
/// When an act or `watch` fails.
///
/// # Panics
/// Passes on a panic of an act.
pub fn play(stage: &Stage, mut watch: impl FnMut() -> Result<()>) -> Result<Vec<(&'static str, Played)>> {
    thread::scope(|scope| {
        let acts = ACTS.iter().map(|(name, act)| {
            let playing = scope.spawn(move || {
                // Also when it fails, or panics: nobody waits for the others then.
                let curtain = stage.curtain();
                let played = act(stage)?;
                if played.was_played() {
                    anyhow::ensure!(stage.is_over(), "ended before its time");
                }
                curtain.keep_open();
                anyhow::Ok(played)
            });
            (*name, playing)
        });
        let acts: Vec<_> = acts.collect();
        let mut watched = Ok(());
        while !stage.is_over() && watched.is_ok() {
            stage.pause(Duration::from_secs(1));
            watched = watch();
        }
        stage.call_off();
        let played = acts.into_iter().map(|(name, act)| {
            let played = act.join().unwrap_or_else(|panic| resume_unwind(panic)).context(name)?;
            Ok((name, played))
        });
        // Every one is waited for before the first failure is told.
        let played: Vec<Result<_>> = played.collect();
        watched?;
        played.into_iter().collect()
    })
}
