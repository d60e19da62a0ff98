//! Caddy: a Go server whose listeners set SO_REUSEPORT through `net.ListenConfig.Control`, so that several processes share
//! a port, and a line in each one's log for each request.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{Program, Running, watched};
use crate::{namespace::Namespace, scratch::Scratch};

/// One process.
#[derive(Debug)]
pub struct Caddy {
    running: Running,
    scratch: Scratch,
}

impl Caddy {
    /// Starts the process with this number; it closes each connection after one answer.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        program: &Program,
        namespace: &Namespace,
        address: SocketAddr,
        number: usize,
    ) -> Result<Self> {
        let scratch = Scratch::new(&format!("caddy-{number}"))?;
        let folder = scratch.path();
        let log = folder.join("served");
        let configuration = json!({
            "admin": { "disabled": true, "config": { "persist": false } },
            "logging": { "logs": {
                "default": { "level": "ERROR" },
                "access": {
                    "writer": { "output": "file", "filename": log },
                    "encoder": { "format": "json" },
                    "include": ["http.log.access"],
                },
            } },
            "apps": { "http": { "servers": { "one": {
                "listen": [address.to_string()],
                "automatic_https": { "disable": true },
                "logs": {},
                "routes": [{ "handle": [{ "handler": "static_response", "body": "served", "close": true }] }],
            } } } },
        });
        fs::write(folder.join("conf"), configuration.to_string()).context("writing Caddy's configuration")?;
        let mut command = program.command();
        command.args(["run", "--config"]).arg(folder.join("conf"));
        command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        let running = Running::start(namespace, &mut command, &folder.join("output"))?;
        Ok(Self { running, scratch })
    }

    /// Inode of its listener among the members of the group, once it waits there.
    ///
    /// # Errors
    /// When it does not.
    pub fn listener(&mut self, members: &BTreeSet<u64>) -> Result<u64> {
        let pid = self.running.pid();
        self.running.until("Caddy listens", || {
            let own: Vec<u64> = watched(pid)?.intersection(members).copied().collect();
            match own.as_slice() {
                [] => Ok(None),
                [one] => Ok(Some(*one)),
                several => bail!("it has {} listeners", several.len()),
            }
        })
    }

    /// Waits until it listens at this port.
    ///
    /// # Errors
    /// When it does not.
    pub fn until_listening(&mut self, port: u16) -> Result<()> {
        self.running.until_listening(port)
    }

    /// Requests it served.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn served(&self) -> Result<u64> {
        let log: PathBuf = self.scratch.path().join("served");
        // There is none before the first request.
        let text =
            if log.exists() { fs::read_to_string(&log).context("Caddy's log")? } else { String::new() };
        Ok(text.lines().count() as u64)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn end(mut self) -> Result<()> {
        self.running.end()
    }
}
