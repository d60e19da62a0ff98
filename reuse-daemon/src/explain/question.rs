//! What is asked, read from the command line: which protocols, addresses and port. Nothing is looked up here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reuse_model::{
    endpoint::{Family, Transport},
    rulebook::precheck::needs_scope,
};
use thiserror::Error;

/// How a question is written, for the errors.
const GRAMMAR: &str = "write [tcp|udp] PORT, [tcp|udp] ADDRESS:PORT or [tcp|udp] HOST:PORT, for instance `8080`, \
                       `tcp 127.0.0.1:8080`, `udp [::1]:53`";

/// Why the words are no question.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// A first word that is no protocol
    #[error("`{0}` is no protocol: write tcp or udp before the address, or leave it out to ask for both")]
    Protocol(String),
    /// Nothing to ask about
    #[error("{GRAMMAR}")]
    Words,
    /// Two targets, or two protocols
    #[error("`{0}` and `{1}`: ask one question at a time")]
    Several(String, String),
    /// Digits and dots that make no address
    #[error("`{0}` is no IPv4 address: it has four numbers from 0 to 255")]
    Ipv4(String),
    /// An address or a host alone
    #[error("`{0}` names no port: {GRAMMAR}")]
    NoPort(String),
    /// An IPv6 address whose last group cannot be told from a port
    #[error("`{0}`: put the IPv6 address in brackets, as in `[::1]:8080`")]
    Brackets(String),
    /// Brackets around something else, or something behind them
    #[error("`{0}`: between the brackets stands an IPv6 address, after them a colon and the port")]
    Ipv6(String),
    /// Not a number of 16 bits
    #[error("port `{0}` is not a number from 1 to 65535")]
    Port(String),
    /// Port 0
    #[error(
        "port 0 lets the kernel choose any free port, so no socket is in its way and there is nothing to explain: \
         name the port that is meant"
    )]
    AnyPort,
}

/// What the port is asked for on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// All addresses of both families, one after the other
    Wildcards,
    /// One address
    Address {
        /// The address
        address: IpAddr,
        /// Interface behind the `%` of an IPv6 address, by name or number
        scope: Option<String>,
    },
    /// A name that has to be looked up
    Host(String),
}

/// The words, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// Protocols asked for
    pub transports: Vec<Transport>,
    /// Where
    pub place: Place,
    /// Never 0
    pub port: u16,
}

/// One question: one socket that would be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Protocol
    pub transport: Transport,
    /// Address, whose family is the socket's
    pub address: IpAddr,
    /// Interface behind the `%` of the address, by name or number
    pub scope: Option<String>,
    /// Never 0
    pub port: u16,
}

impl Question {
    /// Family of the socket.
    #[must_use]
    pub fn family(&self) -> Family {
        if self.address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// The interface of the address, where it means something only together with one.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref().filter(|_| needs_scope(self.address))
    }
}

impl Typed {
    /// Reads `[tcp|udp] TARGET`, where the target may have its protocol as well, as in `tcp://HOST:PORT` and `PORT/tcp`.
    ///
    /// # Errors
    /// The words are no question.
    pub fn parse(words: &[String]) -> Result<Self, QuestionError> {
        let (before, word) = match words {
            [word] => (None, word),
            [first, second, ..] if Self::parse(std::slice::from_ref(first)).is_ok() => {
                return Err(QuestionError::Several(first.clone(), second.clone()));
            }
            [protocol, word] => (Some(transport(protocol)?), word),
            [_, second, third, ..] => return Err(QuestionError::Several(second.clone(), third.clone())),
            [] => return Err(QuestionError::Words),
        };
        let (within, target) = split_protocol(word)?;
        if within.is_none() && transport(target).is_ok() {
            return Err(QuestionError::NoPort(target.to_owned()));
        }
        let transports = match (before, within) {
            (Some(before), Some(within)) if before != within => {
                return Err(QuestionError::Several(before.as_str().to_owned(), word.clone()));
            }
            (Some(one), _) | (None, Some(one)) => vec![one],
            (None, None) => vec![Transport::Tcp, Transport::Udp],
        };
        let (place, port) = target_of(target)?;
        Ok(Self { transports, place, port })
    }

    /// The questions, in the order they are answered: by protocol, then by address. `found` are the addresses of a
    /// [`Place::Host`].
    #[must_use]
    pub fn questions(&self, found: &[IpAddr]) -> Vec<Question> {
        let wildcards = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let (addresses, scope) = match &self.place {
            Place::Wildcards => (wildcards.to_vec(), None),
            Place::Address { address, scope } => (vec![*address], scope.clone()),
            Place::Host(_) => (found.to_vec(), None),
        };
        let one = |transport: Transport, address: &IpAddr| Question {
            transport,
            address: *address,
            scope: scope.clone(),
            port: self.port,
        };
        self.transports
            .iter()
            .flat_map(|transport| addresses.iter().map(|address| one(*transport, address)))
            .collect()
    }
}

fn transport(word: &str) -> Result<Transport, QuestionError> {
    if word.eq_ignore_ascii_case("tcp") {
        Ok(Transport::Tcp)
    } else if word.eq_ignore_ascii_case("udp") {
        Ok(Transport::Udp)
    } else {
        Err(QuestionError::Protocol(word.to_owned()))
    }
}

/// The protocol that the target itself names, as a scheme or as a service of services(5), and the rest.
fn split_protocol(word: &str) -> Result<(Option<Transport>, &str), QuestionError> {
    if let Some((scheme, rest)) = word.split_once("://") {
        return Ok((Some(transport(scheme)?), rest.strip_suffix('/').unwrap_or(rest)));
    }
    match word.rsplit_once('/') {
        Some((target, "")) => Ok((None, target)),
        Some((target, protocol)) => Ok((Some(transport(protocol)?), target)),
        None => Ok((None, word)),
    }
}

fn target_of(target: &str) -> Result<(Place, u16), QuestionError> {
    let whole = || target.to_owned();
    if let Some(rest) = target.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or_else(|| QuestionError::Ipv6(whole()))?;
        let digits = match after.strip_prefix(':') {
            Some(digits) => digits,
            None if after.is_empty() => return Err(QuestionError::NoPort(whole())),
            None => return Err(QuestionError::Ipv6(whole())),
        };
        return Ok((ipv6(inside).ok_or_else(|| QuestionError::Ipv6(whole()))?, port(digits)?));
    }
    match target.rsplit_once(':') {
        None if !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((Place::Wildcards, port(target)?))
        }
        None => Err(QuestionError::NoPort(whole())),
        Some(("" | "*", digits)) => Ok((Place::Wildcards, port(digits)?)),
        Some((host, _)) if host.contains(':') => Err(QuestionError::Brackets(whole())),
        Some((host, digits)) => {
            let place = match host.parse::<Ipv4Addr>() {
                Ok(address) => Place::Address { address: address.into(), scope: None },
                // A resolver would read some of these its own way, `127.1` for one, and ask DNS for the others.
                Err(_) if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
                    return Err(QuestionError::Ipv4(host.to_owned()));
                }
                Err(_) => Place::Host(host.to_owned()),
            };
            Ok((place, port(digits)?))
        }
    }
}

/// The address within the brackets, with its interface.
fn ipv6(text: &str) -> Option<Place> {
    let (address, scope) = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, scope)) => (address, Some(scope.to_owned())),
        None => (text, None),
    };
    Some(Place::Address { address: address.parse::<Ipv6Addr>().ok()?.into(), scope })
}

fn port(digits: &str) -> Result<u16, QuestionError> {
    let wrong = || QuestionError::Port(digits.to_owned());
    // `u16::from_str` would take a plus sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    match digits.parse().map_err(|_| wrong())? {
        0 => Err(QuestionError::AnyPort),
        port => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(words: &[&str]) -> Result<Typed, QuestionError> {
        Typed::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn shown(words: &[&str]) -> Vec<String> {
        let found = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let show = |question: &Question| {
            let scope = question.scope.as_deref().map(|scope| format!("%{scope}")).unwrap_or_default();
            format!("{} {}{scope} {}", question.transport.as_str(), question.address, question.port)
        };
        parse(words)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
            .questions(&found)
            .iter()
            .map(show)
            .collect()
    }

    #[test]
    fn a_port_alone_asks_four() {
        let four = ["tcp 0.0.0.0 8080", "tcp :: 8080", "udp 0.0.0.0 8080", "udp :: 8080"];
        assert_eq!(shown(&["8080"]), four);
        assert_eq!(shown(&[":8080"]), four);
        assert_eq!(shown(&["tcp", "8080"]), four[..2]);
        assert_eq!(shown(&["UDP", ":8080"]), four[2..]);
        assert_eq!(shown(&["*:8080"]), four);
        assert_eq!(shown(&["8080/tcp"]), four[..2]);
        assert_eq!(shown(&["8080/"]), four);
        assert_eq!(shown(&["udp", "8080/udp"]), four[2..]);
    }

    #[test]
    fn addresses_and_hosts_ask_for_what_they_name() {
        for (words, expected) in [
            (&["tcp", "127.0.0.1:80"][..], vec!["tcp 127.0.0.1 80"]),
            (&["127.0.0.1:80"], vec!["tcp 127.0.0.1 80", "udp 127.0.0.1 80"]),
            (&["udp", "[::1]:53"], vec!["udp ::1 53"]),
            (&["tcp", "[fe80::1%eth0]:53"], vec!["tcp fe80::1%eth0 53"]),
            (&["tcp", "[::ffff:127.0.0.1]:53"], vec!["tcp ::ffff:127.0.0.1 53"]),
            (&["tcp://127.0.0.1:80"], vec!["tcp 127.0.0.1 80"]),
            (&["udp://[::1]:53/"], vec!["udp ::1 53"]),
            (&["TCP", "tcp://[::1]:53"], vec!["tcp ::1 53"]),
            (&["127.0.0.1:53/udp"], vec!["udp 127.0.0.1 53"]),
            (&["tcp", "web.example:65535"], vec!["tcp 127.0.0.1 65535", "tcp ::1 65535"]),
        ] {
            assert_eq!(shown(words), expected, "{words:?}");
        }
    }

    #[test]
    fn each_wrong_input_says_what_is_wrong() {
        for (words, part) in [
            (&[][..], "write [tcp|udp] PORT"),
            (&["tcp", "80", "81"], "`80` and `81`: ask one question at a time"),
            (&["80", "81", "82"], "`80` and `81`: ask one question at a time"),
            (&["sctp", "80"], "`sctp` is no protocol"),
            (&["80", "443"], "`80` and `443`: ask one question at a time"),
            (&["udp", "80/tcp"], "one question at a time"),
            (&["http://localhost:80"], "`http` is no protocol"),
            (&["tcp://localhost"], "`localhost` names no port"),
            (&["80/tcp/udp"], "names no port"),
            (&["300.2.3.4:53"], "`300.2.3.4` is no IPv4 address"),
            (&["127.1:53"], "`127.1` is no IPv4 address"),
            (&["tcp"], "names no port"),
            (&[""], "names no port"),
            (&["localhost"], "`localhost` names no port"),
            (&["127.0.0.1"], "`127.0.0.1` names no port"),
            (&["[::1]"], "`[::1]` names no port"),
            (&["::1"], "in brackets"),
            (&["::1:80"], "in brackets"),
            (&["[::1"], "between the brackets"),
            (&["[::1]80"], "between the brackets"),
            (&["[127.0.0.1]:80"], "between the brackets"),
            (&["[fe80::1%]:80"], "between the brackets"),
            (&["0"], "port 0 lets the kernel choose"),
            (&["tcp", "[::]:0"], "port 0 lets the kernel choose"),
            (&["65536"], "port `65536`"),
            (&["127.0.0.1:http"], "port `http`"),
            (&["127.0.0.1:+80"], "port `+80`"),
            (&["127.0.0.1:"], "port ``"),
            (&["-80"], "names no port"),
        ] {
            let error = parse(words).expect_err(&format!("{words:?}")).to_string();
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn every_address_is_read_back(address in any::<IpAddr>(), port in 1..=u16::MAX) {
            let typed = parse(&["tcp", &std::net::SocketAddr::new(address, port).to_string()]);
            prop_assert_eq!(typed, Ok(Typed {
                transports: vec![Transport::Tcp],
                place: Place::Address { address, scope: None },
                port,
            }));
        }

        #[test]
        fn any_words_are_a_question_or_an_error(words in prop::collection::vec("[\\[\\]:%*/a-z0-9.]{0,12}", 0..3)) {
            if let Ok(typed) = Typed::parse(&words) {
                prop_assert_ne!(typed.port, 0);
            }
        }
    }
}
