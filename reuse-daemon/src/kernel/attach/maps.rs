//! The maps of the loaded object, each handed to the part of the daemon that reads it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};

use super::{Kernel, Planned, Stage, StartError};
use crate::kernel::{
    counts::{Flows, Hashes, Losses, OwnSelections, Passed, Selections},
    owners::Owners,
    plan::Tier,
    ring::Ring,
    sys,
    watched::Watched,
};

/// The maps, each with the part of the daemon that reads it.
pub struct Maps {
    /// Records of calls and ends
    pub ring: Ring,
    /// Selection counters
    pub selections: Selections,
    /// The same counters for the test group, which looks at few of them and often
    pub own_selections: OwnSelections,
    /// Sockets in no group that are counted among the selections
    pub watched: Watched,
    /// Hashes of the test group's probes
    pub hashes: Hashes,
    /// Losses
    pub losses: Losses,
    /// Binds that passed the hooks of the root cgroup
    pub passed: Passed,
    /// Who has given sockets open; `None` where the kernel refuses
    pub owners: Option<Owners>,
    /// The daemon's process id in the initial pid namespace
    pub own_pid: u32,
}

impl Kernel {
    pub(super) fn maps(&mut self) -> Result<Maps, StartError> {
        let records: RingBuf<MapData> = self.take("RING")?.try_into().map_err(|_| StartError::Map("RING"))?;
        let sleeping: Array<MapData, u32> =
            self.take("SLEEPING")?.try_into().map_err(|_| StartError::Map("SLEEPING"))?;
        let losses: PerCpuArray<MapData, u64> =
            self.take("LOST")?.try_into().map_err(|_| StartError::Map("LOST"))?;
        let passed: PerCpuArray<MapData, u64> =
            self.take("PASSED")?.try_into().map_err(|_| StartError::Map("PASSED"))?;
        let own: Array<MapData, u32> = self.take("OWN")?.try_into().map_err(|_| StartError::Map("OWN"))?;
        let hashes = self.take("PROBES")?.try_into().map_err(|_| StartError::Map("PROBES"))?;
        let watched = self.take("WATCHED")?.try_into().map_err(|_| StartError::Map("WATCHED"))?;
        let any = self.take("WATCHING")?.try_into().map_err(|_| StartError::Map("WATCHING"))?;
        let flows = Flows {
            windows: self.take("WINDOWS")?.try_into().map_err(|_| StartError::Map("WINDOWS"))?,
            entered: self.take("FLOWS_ENTERED")?.try_into().map_err(|_| StartError::Map("FLOWS_ENTERED"))?,
        };
        let Map::HashMap(selections) = self.take("SELECTIONS")? else {
            return Err(StartError::Map("SELECTIONS"));
        };
        let iterator = self.link_sample(&selections);
        let second = MapData::from_fd(clone_fd(selections.fd().as_fd())?)
            .map_err(|_| StartError::Map("SELECTIONS"))?;
        let typed = |data| HashMap::try_from(Map::HashMap(data)).map_err(|_| StartError::Map("SELECTIONS"));
        Ok(Maps {
            ring: Ring::new(records, sleeping).map_err(StartError::Ring)?,
            selections: Selections::new(typed(selections)?, iterator, flows),
            own_selections: OwnSelections(typed(second)?),
            watched: Watched::new(watched, any),
            hashes: Hashes(hashes),
            losses: Losses(losses),
            passed: Passed(passed),
            owners: None,
            own_pid: own.get(&0, 0).map_err(|_| StartError::Map("OWN"))?,
        })
    }

    fn take(&mut self, name: &'static str) -> Result<Map, StartError> {
        self.ebpf.take_map(name).ok_or(StartError::Map(name))
    }

    fn link_sample(&mut self, map: &MapData) -> Option<OwnedFd> {
        let is_sample =
            |planned: &Planned| planned.step.serves(Tier::Sample) && planned.stage == Stage::Loaded;
        let index = self.programs.iter().position(is_sample)?;
        let program = self.ebpf.program(self.programs.get(index)?.step.program)?.fd().ok()?;
        let link = sys::link_map_iterator(program.as_fd(), map.fd().as_fd());
        link.inspect_err(|error| self.refuse(index, error)).ok()
    }
}

fn clone_fd(fd: BorrowedFd<'_>) -> Result<OwnedFd, StartError> {
    fd.try_clone_to_owned().map_err(StartError::Ring)
}
