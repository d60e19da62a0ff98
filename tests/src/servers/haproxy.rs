//! HAProxy: a listener for each thread, and what each listener counts (`option socket-stats`), asked for over its socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
};

use anyhow::{Context, Result, ensure};

use super::{Account, Program, Running, listeners_of};
use crate::{namespace::Namespace, scratch::Scratch};

/// One process with several threads.
#[derive(Debug)]
pub struct HAProxy {
    running: Running,
    scratch: Scratch,
}

/// A listener in its statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name that its `bind` line has
    pub name: String,
    /// Sessions in all
    pub sessions: u64,
}

impl HAProxy {
    /// Starts it with so many threads: frontend `named` with one `bind` line for each thread, each with a name of its own,
    /// and frontend `sharded`, where HAProxy makes a listener for each thread itself.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        program: &Program,
        namespace: &Namespace,
        (named, sharded): (SocketAddr, SocketAddr),
        threads: u32,
    ) -> Result<Self> {
        let scratch = Scratch::new("haproxy")?;
        let folder = scratch.path();
        let binds: String = (1..=threads)
            .map(|thread| format!("bind {named} name thread-{thread} thread {thread}\n"))
            .collect();
        let frontend = |name: &str, binds: &str| {
            format!("frontend {name}\noption socket-stats\n{binds}http-request return status 200\n")
        };
        let text = format!(
            "global\n\
             nbthread {threads}\n\
             stats socket {}/stats mode 600\n\
             defaults\n\
             mode http\n\
             option httpclose\n\
             timeout client 10s\n\
             {}{}",
            folder.display(),
            frontend("named", &binds),
            frontend("sharded", &format!("bind {sharded} shards by-thread\n")),
        );
        let configuration = folder.join("conf");
        fs::write(&configuration, text).context("writing HAProxy's configuration")?;
        let mut command = program.command();
        command.arg("-db").arg("-f").arg(&configuration);
        let mut running = Running::start(namespace, &mut command, &folder.join("output"))?;
        running.until("HAProxy answers", || Ok(UnixStream::connect(folder.join("stats")).ok()))?;
        Ok(Self { running, scratch })
    }

    /// The listeners of a frontend.
    ///
    /// # Errors
    /// When the statistics are not as documented.
    pub fn listeners(&self, frontend: &str) -> Result<Vec<Row>> {
        let table = self.ask("show stat")?;
        let mut lines = table.lines();
        let header = lines.next().and_then(|line| line.strip_prefix("# ")).context("no header")?;
        let columns: Vec<&str> = header.split(',').collect();
        let column = |name: &str| columns.iter().position(|column| *column == name).context("no such column");
        let (name, sessions) = (column("svname")?, column("stot")?);
        lines
            .map(|line| line.split(',').collect::<Vec<_>>())
            .filter(|row| row.first() == Some(&frontend) && row.get(name) != Some(&"FRONTEND"))
            .map(|row| {
                let cell = |column: usize| row.get(column).with_context(|| format!("short row {row:?}"));
                Ok(Row { name: (*cell(name)?).to_owned(), sessions: cell(sessions)?.parse()? })
            })
            .collect()
    }

    /// Sessions by listener of the frontend `named`: which descriptor a thread waits for is in `show fd`, which socket that
    /// is the kernel says.
    ///
    /// # Errors
    /// When the answers are not as documented.
    pub fn served(&self, members: &BTreeSet<u64>) -> Result<Account> {
        let rows: BTreeMap<String, u64> =
            self.listeners("named")?.into_iter().map(|row| (row.name, row.sessions)).collect();
        let descriptors = self.ask("show fd")?;
        listeners_of(self.running.pid(), members)?
            .into_iter()
            .map(|(descriptor, inode)| {
                let start = format!("{descriptor} :");
                let line = descriptors.lines().find_map(|line| line.trim().strip_prefix(&start));
                let mask = line.and_then(|line| line.split_once("tmask=0x")).context("no threads")?.1;
                let mask = u64::from_str_radix(mask.split_whitespace().next().context("no mask")?, 16)?;
                ensure!(mask.is_power_of_two(), "descriptor {descriptor} has threads {mask:x}");
                let name = format!("thread-{}", mask.trailing_zeros() + 1);
                Ok((inode, *rows.get(&name).with_context(|| format!("no row {name}"))?))
            })
            .collect()
    }

    fn ask(&self, command: &str) -> Result<String> {
        let mut stream =
            UnixStream::connect(self.scratch.path().join("stats")).context("HAProxy's socket")?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
