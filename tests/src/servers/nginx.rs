//! nginx: one listener for each worker (`listen ... reuseport`), a line in its log for each connection, and a total of the
//! connections it accepted (`stub_status`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Account, Program, Running, running::send, watched};
use crate::{namespace::Namespace, scratch::Scratch};

/// A master and its workers.
#[derive(Debug)]
pub struct Nginx {
    running: Running,
    address: SocketAddr,
    /// The inode of each worker's listener by the worker's pid, of all workers that were ever looked up
    listeners: BTreeMap<u32, u64>,
    /// How often the status was asked for, each time over a connection that nginx counts as well
    asked: u64,
    scratch: Scratch,
}

impl Nginx {
    /// Starts it with so many workers, and returns once each listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(
        program: &Program,
        namespace: &Namespace,
        address: SocketAddr,
        workers: usize,
    ) -> Result<Self> {
        let scratch = Scratch::new("nginx")?;
        let folder = scratch.path();
        configure(&scratch, address, workers)?;
        let mut command = program.command();
        command.arg("-p").arg(folder).arg("-e").arg(folder.join("errors")).arg("-c").arg(folder.join("conf"));
        let running = Running::start(namespace, &mut command, &folder.join("output"))?;
        Ok(Self { running, address, listeners: BTreeMap::new(), asked: 0, scratch })
    }

    /// The workers that watch one of these listeners, each another, once there are `count` beside those of `old`.
    ///
    /// # Errors
    /// When there are not in time.
    pub fn workers(
        &mut self,
        members: &BTreeSet<u64>,
        count: usize,
        old: &BTreeSet<u32>,
    ) -> Result<BTreeSet<u32>> {
        let master = self.running.pid();
        let found = self.running.until("each listener has a worker", || {
            let path = format!("/proc/{master}/task/{master}/children");
            let children = fs::read_to_string(&path).context(path)?;
            let mut found = BTreeMap::new();
            for worker in children.split_whitespace().map(str::parse::<u32>) {
                let worker = worker.context("a worker's pid")?;
                // One that is gone by now watches nothing.
                let own: Vec<u64> =
                    watched(worker).unwrap_or_default().intersection(members).copied().collect();
                if let ([listener], false) = (own.as_slice(), old.contains(&worker)) {
                    found.insert(worker, *listener);
                }
            }
            let listeners: BTreeSet<u64> = found.values().copied().collect();
            Ok((found.len() == count && listeners.len() == count).then_some(found))
        })?;
        let workers = found.keys().copied().collect();
        self.listeners.extend(found);
        Ok(workers)
    }

    /// Reloads (SIGHUP, as `nginx -s reload` does) with so many workers.
    ///
    /// # Errors
    /// When the configuration cannot be written or the master is gone.
    pub fn reload(&self, workers: usize) -> Result<()> {
        configure(&self.scratch, self.address, workers)?;
        self.running.signal(Signal::SIGHUP)
    }

    /// Sends a signal to a worker.
    ///
    /// # Errors
    /// The kernel's.
    pub fn signal_worker(&self, worker: u32, signal: Signal) -> Result<()> {
        send(worker, signal)
    }

    /// Connections on which a request was served, by listener: lines of the log by the pid of the worker, the workers by
    /// what they watched.
    ///
    /// # Errors
    /// When the log is not as configured, or names a worker that was never looked up.
    pub fn served(&self) -> Result<Account> {
        let log = fs::read_to_string(self.scratch.path().join("served")).context("the log")?;
        let mut connections: BTreeMap<u64, BTreeSet<(u32, u64)>> =
            self.listeners.values().map(|listener| (*listener, BTreeSet::new())).collect();
        for line in log.lines() {
            let (worker, connection) = line.split_once(' ').with_context(|| format!("log: {line:?}"))?;
            let (worker, connection) = (worker.parse()?, connection.parse()?);
            let listener =
                self.listeners.get(&worker).with_context(|| format!("unknown worker {worker} in the log"))?;
            connections.entry(*listener).or_default().insert((worker, connection));
        }
        Ok(connections.into_iter().map(|(listener, of)| (listener, of.len() as u64)).collect())
    }

    /// Connections it accepted, but those that asked for this number.
    ///
    /// # Errors
    /// When it does not answer as documented.
    pub fn accepted(&mut self) -> Result<u64> {
        let mut stream = UnixStream::connect(self.status()).context("the status socket")?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, after) = answer.split_once("requests").with_context(|| format!("status: {answer:?}"))?;
        let accepted = after.split_whitespace().next().context("no number of accepts")?;
        let accepted: u64 = accepted.parse().with_context(|| format!("status: {answer:?}"))?;
        self.asked += 1;
        Ok(accepted - self.asked)
    }

    fn status(&self) -> PathBuf {
        self.scratch.path().join("status")
    }
}

fn configure(scratch: &Scratch, address: SocketAddr, workers: usize) -> Result<()> {
    let folder = scratch.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    let text = format!(
        "daemon off;\n\
         user root;\n\
         worker_processes {workers};\n\
         pid {folder}/pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
           {temporary}\
           log_format connection '$pid $connection';\n\
           access_log {folder}/served connection;\n\
           keepalive_timeout 0;\n\
           server {{ listen {address} reuseport backlog=4096; location / {{ return 200 served; }} }}\n\
           server {{ listen unix:{folder}/status; access_log off; location / {{ stub_status; }} }}\n\
         }}\n"
    );
    fs::write(scratch.path().join("conf"), text).context("writing nginx's configuration")
}
