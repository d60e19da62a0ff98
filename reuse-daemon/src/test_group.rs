//! The control experiment: SO_REUSEPORT groups of the daemon's own on loopback, probed with known traffic.
//!
//! Same kernel, known sockets, known packets: the member that the kernel's hash predicts, the one the kernel counts a
//! selection for and the one that accepts or receives must be the same. Nobody else has business at these ports, so
//! whatever else arrives is told as well. [`listeners`] makes the sockets, the prober sends and correlates, a
//! [`KernelView`] answers for the kernel, [`Observation`]s come out. Once an hour and on request the same flows are probed
//! while members of further groups come and go: which flows move.

use std::{io, time::Duration};

use reuse_model::endpoint::{Family, Transport};
use tokio::sync::mpsc::Sender;

use crate::config;

mod arrivals;
mod client;
mod delivery;
mod error;
mod experiment;
mod kernel_view;
pub mod listeners;
mod observation;
mod outlet;
mod probe;
mod prober;
mod schedule;
mod strangers;
#[cfg(test)]
mod tests;

pub use error::{Degradation, OpenError, Step};
pub use kernel_view::KernelView;
pub use observation::{Finding, Observation};
pub use schedule::{Experiments, Schedule, experiments};

use arrivals::Watched;
use listeners::Group;
use prober::Prober;

/// The test group's sockets, open until this is dropped.
#[derive(Debug)]
pub struct TestGroup {
    groups: Vec<Group>,
    /// Time from one probe to the next, all groups together
    period: Duration,
}

impl TestGroup {
    /// Opens a group for each of TCP and UDP in each of IPv4 and IPv6. A family without a loopback address is left
    /// out and named.
    ///
    /// # Errors
    /// Where any other socket cannot be had, in the first place because the port asked for is taken; nothing stays
    /// open then.
    pub fn open(config: &config::TestGroup) -> Result<(Self, Vec<Degradation>), OpenError> {
        let port = config.port.map_or(0, std::num::NonZeroU16::get);
        let mut groups = Vec::with_capacity(4);
        let mut degradations: Vec<Degradation> = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            for transport in [Transport::Tcp, Transport::Udp] {
                match Group::open(transport, family, port, config.members.into()) {
                    Ok(group) => groups.push(group),
                    Err(OpenError::Socket { cause, step, .. }) if error::is_absent_family(step, &cause) => {
                        degradations.push(Degradation { family, reason: cause.to_string() });
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if groups.is_empty() {
            return Err(OpenError::NoLoopback);
        }
        let period = Duration::from_secs(1) / config.probes_per_second.max(1);
        Ok((Self { groups, period }, degradations))
    }

    /// The groups: their addresses, the members' cookies and inode numbers, a descriptor to attach a program to.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Probes the groups in turn and tells of each probe and of every stranger, and of the experiments that `schedule`
    /// says are due, until `sink` is closed or the future is dropped; then the sockets are closed.
    ///
    /// # Errors
    /// When the runtime cannot watch the sockets.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn run(
        self,
        view: impl KernelView,
        sink: Sender<Observation>,
        schedule: Schedule,
    ) -> io::Result<()> {
        let groups = self.groups.into_iter().map(Watched::new).collect::<io::Result<Vec<_>>>()?;
        Prober::new(view, sink).run(&groups, self.period, schedule).await;
        Ok(())
    }
}
