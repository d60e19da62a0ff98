//! unbound: a UDP socket and a TCP listener for each thread (`so-reuseport`), and the queries that each thread counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{Program, Running, listeners_of};
use crate::{namespace::Namespace, scratch::Scratch};

/// A resolver that knows one name, `a.test`, and asks nobody.
#[derive(Debug)]
pub struct Unbound {
    running: Running,
    control: Program,
    threads: usize,
    scratch: Scratch,
}

impl Unbound {
    /// Starts it with so many threads.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        [program, control]: [&Program; 2],
        namespace: &Namespace,
        address: SocketAddr,
        threads: usize,
    ) -> Result<Self> {
        let scratch = Scratch::new("unbound")?;
        let folder = scratch.path();
        let text = format!(
            "server:\n\
             directory: \"{0}\"\n\
             chroot: \"\"\n\
             username: \"\"\n\
             pidfile: \"\"\n\
             use-syslog: no\n\
             module-config: iterator\n\
             interface: {1}@{2}\n\
             num-threads: {threads}\n\
             incoming-num-tcp: 100\n\
             so-reuseport: yes\n\
             local-zone: \"test.\" static\n\
             local-data: \"a.test. A 192.0.2.1\"\n\
             remote-control:\n\
             control-enable: yes\n\
             control-interface: {0}/control\n\
             control-use-cert: no\n",
            folder.display(),
            address.ip(),
            address.port(),
        );
        fs::write(folder.join("conf"), text).context("writing unbound's configuration")?;
        fs::write(folder.join("queries"), "a.test A\n").context("writing the queries")?;
        let mut command = program.command();
        command.arg("-d").arg("-c").arg(folder.join("conf"));
        let running = Running::start(namespace, &mut command, &folder.join("output"))?;
        let mut unbound = Self { running, control: control.clone(), threads, scratch };
        let mut asking = unbound.statistics_command();
        unbound.running.until("unbound answers", || Ok(asking.output()?.status.success().then_some(())))?;
        Ok(unbound)
    }

    /// A file for `dnsperf` with a query for the name it knows.
    #[must_use]
    pub fn queries(&self) -> PathBuf {
        self.folder().join("queries")
    }

    /// Queries that each thread has answered.
    ///
    /// # Errors
    /// When it does not answer as documented.
    pub fn answered(&self) -> Result<Vec<u64>> {
        let output = self.statistics_command().output().context("starting unbound-control")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("unbound-control: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
        let numbers: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once('=')).collect();
        (0..self.threads)
            .map(|thread| {
                let name = format!("thread{thread}.num.queries");
                let number = numbers.get(name.as_str()).with_context(|| format!("no {name}"))?;
                number.parse().with_context(|| format!("{name}={number}"))
            })
            .collect()
    }

    /// The inode of each thread's socket among the members of a group. A process opens those of one thread after those of
    /// another, and closes none in between: the descriptors are in the order of the threads.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn sockets(&self, members: &BTreeSet<u64>) -> Result<Vec<u64>> {
        let listeners = listeners_of(self.running.pid(), members)?;
        Ok(listeners.into_iter().map(|(_, inode)| inode).collect())
    }

    fn statistics_command(&self) -> Command {
        let mut command = self.control.command();
        command.arg("-c").arg(self.folder().join("conf")).arg("stats_noreset");
        command
    }

    fn folder(&self) -> &Path {
        self.scratch.path()
    }
}
