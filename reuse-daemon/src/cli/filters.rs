//! Filters of the commands that list sockets, refusals and signals: from words to [`Filter`].

use std::net::IpAddr;

use clap::Args;
use reuse_model::{
    filter::Filter,
    refusal::{Rule, errno_name},
    signal::{Kind, Severity},
};

use super::user;
use crate::explain::netns::{Netns, NetnsError};

/// include/linux/err.h
const MAX_ERRNO: i32 = 4095;
/// Errnos that bind and listen give most
const COMMON: [i32; 4] = [98, 99, 13, 22];

/// Filters for what has a socket and processes. Each may be given more than once: one of the values must fit.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters (each repeatable: one of its values must fit)")]
pub struct SocketFilters {
    /// Only this port
    #[arg(long, value_name = "N")]
    pub port: Vec<u16>,

    /// Only this address, such as 0.0.0.0 or ::1
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub address: Vec<IpAddr>,

    /// Only this user: the socket's, or one of its owners' or the caller's
    #[arg(long, value_name = "UID|NAME", value_parser = user::parse)]
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
    /// Only this errno, such as EADDRINUSE or 98
    #[arg(long, value_name = "NAME|N", value_parser = errno)]
    pub errno: Vec<String>,

    /// Only this rule, such as holder_is_listening
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub rule: Vec<Rule>,
}

/// Filters for what only a signal has.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters (each repeatable: one of its values must fit)")]
pub struct SignalFilters {
    /// Only this signal, such as foreign_uid_share
    #[arg(long, value_name = "SIGNAL", value_parser = str::parse::<Kind>)]
    pub signal: Vec<Kind>,

    /// Only signals at least so grave: info, warning or critical
    #[arg(long, value_name = "MINIMUM", value_parser = severity)]
    pub severity: Option<Severity>,
}

/// A network namespace that is not there.
#[derive(Debug, thiserror::Error)]
#[error("--netns {word}: {reason}")]
pub struct NoNetns {
    word: String,
    reason: NetnsError,
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
        let number = |word: &String| match Netns::named(word) {
            Ok(netns) => Ok(netns.number.0),
            Err(reason) => Err(NoNetns { word: word.clone(), reason }),
        };
        self.netns.iter().map(number).collect()
    }
}

impl RefusalFilters {
    /// Adds what is asked for.
    #[must_use]
    pub fn add_to(&self, filter: Filter) -> Filter {
        Filter { errnos: self.errno.clone(), rules: self.rule.clone(), ..filter }
    }
}

/// An address, also in the brackets that stand around it before a port.
fn address(word: &str) -> Result<IpAddr, String> {
    let inside =
        word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|rest| rest.contains(':'));
    inside
        .unwrap_or(word)
        .parse()
        .map_err(|_| "write an IPv4 or IPv6 address without a port, such as 0.0.0.0 or ::1".to_owned())
}

/// The name of an errno, by its name in either case or its number.
fn errno(word: &str) -> Result<String, String> {
    let unknown = errno_name(-1);
    let named = match word.parse() {
        Ok(number) => Some(errno_name(number)),
        Err(_) => (1..=MAX_ERRNO).map(errno_name).find(|name| name.eq_ignore_ascii_case(word)),
    };
    named.filter(|name| *name != unknown).map(str::to_owned).ok_or_else(|| {
        let common = COMMON.map(|number| format!("{} ({number})", errno_name(number))).join(", ");
        format!("there is no such errno; the common ones of bind and listen are {common}")
    })
}

impl SignalFilters {
    /// Adds what is asked for.
    #[must_use]
    pub fn add_to(&self, filter: Filter) -> Filter {
        Filter { signals: self.signal.clone(), severity: self.severity, ..filter }
    }
}

/// A severity by its name.
fn severity(word: &str) -> Result<Severity, &'static str> {
    let found = Severity::ALL.into_iter().find(|severity| severity.as_str() == word);
    found.ok_or("write info, warning or critical")
}

/// A rule by its name.
fn rule(word: &str) -> Result<Rule, String> {
    word.parse().map_err(|error| {
        let all: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        format!("{error}; the rules are {}", all.join(", "))
    })
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
        assert!(error.starts_with("--netns /nowhere: no network namespace at /nowhere"), "{error}");
        let error = of(&["0"]).expect_err("no such process").to_string();
        assert_eq!(error, "--netns 0: there is no such process");
        let error = of(&["/etc/passwd"]).expect_err("a file").to_string();
        assert_eq!(error, "--netns /etc/passwd: /etc/passwd is no network namespace");
    }

    #[test]
    fn an_address_may_have_its_brackets() {
        assert_eq!(address("[::]"), Ok(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)));
        assert_eq!(address("::"), address("[::]"));
        assert!(address("127.0.0.1").is_ok());
        for wrong in ["[127.0.0.1]", "[::", "::]", "127.0.0.1:80", "localhost", ""] {
            assert!(address(wrong).expect_err(wrong).contains("such as 0.0.0.0"), "{wrong}");
        }
    }

    #[test]
    fn an_errno_goes_by_name_and_number() {
        for word in ["eaddrinuse", "EADDRINUSE", "98"] {
            assert_eq!(errno(word).as_deref(), Ok("EADDRINUSE"), "{word}");
        }
        for word in ["EADDRINUS", "0", "-98", "41", "EUNKNOWN", "", "100000"] {
            assert!(errno(word).expect_err(word).contains("EADDRINUSE (98), EADDRNOTAVAIL (99)"), "{word}");
        }
    }

    #[test]
    fn an_unknown_rule_is_told_the_others() {
        assert_eq!(rule("time_wait"), Ok(Rule::TimeWait));
        let error = rule("nosuch").expect_err("no rule");
        assert!(Rule::ALL.iter().all(|rule| error.contains(rule.as_str())), "{error}");
    }

    #[test]
    fn signals_add_to_what_sockets_have() {
        assert_eq!(severity("warning"), Ok(Severity::Warning));
        assert!(severity("grave").is_err());
        let asked = SignalFilters { signal: vec![Kind::JoinRefused], severity: Some(Severity::Warning) };
        let filter = asked.add_to(Filter { ports: vec![80], ..Filter::default() });
        assert_eq!((filter.signals, filter.severity), (vec![Kind::JoinRefused], Some(Severity::Warning)));
        assert_eq!(filter.ports, [80]);
    }

    #[test]
    fn refusals_add_to_what_sockets_have() {
        let asked = RefusalFilters { errno: vec!["EADDRINUSE".to_owned()], rule: vec![Rule::TimeWait] };
        let filter = asked.add_to(Filter { ports: vec![80], ..Filter::default() });
        assert_eq!((filter.errnos, filter.rules), (vec!["EADDRINUSE".to_owned()], vec![Rule::TimeWait]));
        assert_eq!(filter.ports, [80]);
    }
}
