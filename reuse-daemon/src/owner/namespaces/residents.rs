//! Processes that name the network namespace they run in after their container, pod or unit.

use std::{collections::HashMap, path::Path, sync::Arc};

use reuse_model::{process::Process, socket::NetNs};

use super::identity;

/// Most namespaces remembered; then all are forgotten, and met again.
const LIMIT: usize = 4096;

/// Who gives which namespace its name.
#[derive(Debug, Default)]
pub(super) struct Residents(HashMap<NetNs, Resident>);

/// A process with a name to give.
#[derive(Debug)]
struct Resident {
    pid: u32,
    name: Arc<str>,
    /// Whether the name is that of a container or pod
    contained: bool,
}

impl Resident {
    /// A pod's containers share a namespace, which is the pod's.
    fn of(process: &Process) -> Option<Self> {
        let container = process.pod.as_ref().or(process.container.as_ref());
        let name = container.or(process.unit.as_ref())?;
        Some(Self { pid: process.pid, name: Arc::clone(name), contained: container.is_some() })
    }
}

impl Residents {
    /// Name of the container or pod of that namespace.
    pub(super) fn container(&self, namespace: NetNs) -> Option<&Arc<str>> {
        self.0.get(&namespace).filter(|resident| resident.contained).map(|resident| &resident.name)
    }

    /// Name of the unit of that namespace.
    pub(super) fn unit(&self, namespace: NetNs) -> Option<&Arc<str>> {
        self.0.get(&namespace).filter(|resident| !resident.contained).map(|resident| &resident.name)
    }

    /// Lets `process` name the namespace if it runs there and no other does; `proc` is where proc(5) is.
    ///
    /// The kernel gives the number of a namespace that is gone to a new one, so a name is taken away once its giver is
    /// no longer there and another process is.
    pub(super) fn meet(&mut self, proc: &Path, namespace: NetNs, process: &Process) {
        let candidate = Resident::of(process);
        let resident = self.0.get(&namespace);
        let is_settled = match (resident, &candidate) {
            (Some(resident), Some(candidate)) => resident.name == candidate.name,
            (Some(_), None) => false,
            (None, candidate) => candidate.is_none(),
        };
        let is_there = |pid| runs_in(proc, pid, namespace);
        if is_settled || !is_there(process.pid) || resident.is_some_and(|resident| is_there(resident.pid)) {
            return;
        }
        if self.0.len() >= LIMIT {
            self.0.clear();
        }
        self.0.remove(&namespace);
        self.0.extend(candidate.map(|candidate| (namespace, candidate)));
    }
}

fn runs_in(proc: &Path, pid: u32, namespace: NetNs) -> bool {
    identity(&proc.join(format!("{pid}/ns/net"))).is_ok_and(|(_, found)| found == namespace)
}
