//! Filters of the commands that list sockets and refusals: from words to [`Filter`].

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use reuse_model::{filter::Filter, refusal::Rule};

/// Filters for what has a socket and processes. Each may be given more than once: one of the values must fit.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters (each repeatable: one of its values must fit)")]
pub struct SocketFilters {
    /// Only this port
    #[arg(long, value_name = "N")]
    pub port: Vec<u16>,

    /// Only this address, such as 0.0.0.0 or ::1
    #[arg(long, value_name = "ADDRESS")]
    pub address: Vec<IpAddr>,

    /// Only this user: the socket's, or one of its owners' or the caller's
    #[arg(long, value_name = "UID")]
    pub uid: Vec<u32>,

    /// Only this process
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,

    /// Only this service: unit, else container or pod, else executable
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,

    /// Only this executable, by its base name
    #[arg(long, value_name = "NAME")]
    pub executable: Vec<String>,

    /// Only this network namespace: of a process, of a file such as /run/netns/NAME, or all
    #[arg(long, value_name = "all|PID|PATH")]
    pub netns: Vec<String>,
}

/// Filters for what only a refusal has.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters (each repeatable: one of its values must fit)")]
pub struct RefusalFilters {
    /// Only this errno, such as EADDRINUSE
    #[arg(long, value_name = "NAME")]
    pub errno: Vec<String>,

    /// Only this rule, such as holder_is_listening
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<Rule>,
}

/// A network namespace that is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "--netns {word}: no network namespace there ({reason}); give `all`, the id of a process, or a file such as \
     /run/netns/NAME"
)]
pub struct NoNetns {
    word: String,
    reason: io::Error,
}

impl SocketFilters {
    /// What is asked for.
    ///
    /// # Errors
    /// A network namespace is not there.
    pub fn filter(&self) -> Result<Filter, NoNetns> {
        Ok(Filter {
            ports: self.port.clone(),
            addresses: self.address.clone(),
            uids: self.uid.clone(),
            pids: self.pid.clone(),
            services: self.service.clone(),
            executables: self.executable.clone(),
            netns: self.netns()?,
            ..Filter::default()
        })
    }

    /// `all` among them asks for nothing.
    fn netns(&self) -> Result<Vec<u32>, NoNetns> {
        if self.netns.iter().any(|word| word == "all") {
            return Ok(Vec::new());
        }
        let number = |word: &String| number(word).map_err(|reason| NoNetns { word: word.clone(), reason });
        self.netns.iter().map(number).collect()
    }
}

impl RefusalFilters {
    /// Adds what is asked for.
    #[must_use]
    pub fn add_to(&self, filter: Filter) -> Filter {
        let errnos = self.errno.iter().map(|name| name.to_uppercase()).collect();
        Filter { errnos, rules: self.rule.clone(), ..filter }
    }
}

/// Inode number of the namespace that a process id or a path names.
fn number(word: &str) -> io::Result<u32> {
    let path = match word.parse::<u32>() {
        Ok(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        Err(_) => Path::new(word).to_owned(),
    };
    u32::try_from(fs::metadata(path)?.ino()).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_named_by_process_by_file_or_not_at_all() {
        let of = |words: &[&str]| {
            let netns = words.iter().copied().map(str::to_owned).collect();
            SocketFilters { netns, ..SocketFilters::default() }.filter().map(|filter| filter.netns)
        };
        let own = of(&["/proc/self/ns/net"]).expect("procfs");
        assert_eq!(own.len(), 1);
        assert_eq!(of(&[&std::process::id().to_string()]).expect("procfs"), own);
        assert_eq!(of(&["all"]).expect("no file"), [0; 0]);
        assert_eq!(of(&["/proc/self/ns/net", "all"]).expect("no file"), [0; 0]);
        let error = of(&["/nowhere"]).expect_err("no such file").to_string();
        assert!(error.starts_with("--netns /nowhere: no network namespace there"), "{error}");
    }

    #[test]
    fn an_errno_is_named_in_either_case() {
        let asked = RefusalFilters { errno: vec!["eaddrinuse".to_owned()], rule: vec![Rule::TimeWait] };
        let filter = asked.add_to(Filter { ports: vec![80], ..Filter::default() });
        assert_eq!((filter.errnos, filter.rules), (vec!["EADDRINUSE".to_owned()], vec![Rule::TimeWait]));
        assert_eq!(filter.ports, [80]);
    }
}
