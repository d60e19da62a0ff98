//! Docker: a directory for each container, with what the engine knows of it.

use std::{path::Path, sync::Arc};

use reuse_model::process::plain_name;
use serde::Deserialize;

use crate::owner::cgroup::NAME_MAX;

/// Largest description read; usual are some kilobytes.
const READ_LIMIT: u64 = 1024 * 1024;

/// `config.v2.json` (moby, daemon/container/container.go), as far as it is wanted.
#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Name")]
    name: String,
}

/// The name of the container with this id, where the engine keeps its data in the usual place.
pub(super) fn name(root: &Path, id: &str) -> Option<Arc<str>> {
    let path = root.join("var/lib/docker/containers").join(id).join("config.v2.json");
    let config: Config = serde_json::from_slice(&super::read(&path, READ_LIMIT).ok()?).ok()?;
    plain_name(config.name.as_bytes(), NAME_MAX)
}
