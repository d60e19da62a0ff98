//! One table of the policy.

use reuse_model::{
    endpoint::Transport,
    signal::{Criteria, Severity},
};
use toml::{Spanned, de::DeValue};

use super::{
    document::At,
    value::{self, texts},
};

/// Every key of a table, for who mistypes one.
const KEYS: &str = "signal, protocol, address, port, netns, services, executables, uids, why, and in [[policy.severity]] \
                    severity";

/// What a table says.
pub(super) struct Entry {
    /// Which signals
    pub(super) criteria: Criteria,
    /// How grave they are to the operator, where it says so
    pub(super) severity: Option<Spanned<Severity>>,
}

/// Reads a table.
pub(super) fn read(table: &Spanned<DeValue<'_>>, uid_of: &dyn Fn(&str) -> Option<u32>) -> Result<Entry, At> {
    let values = table.get_ref().as_table().ok_or_else(|| At::new(table, "write a table of criteria"))?;
    let mut criteria = Criteria::default();
    let mut severity = None;
    for (key, value) in values {
        match key.get_ref().as_ref() {
            "signal" => criteria.signals = texts(value, str::parse)?,
            "protocol" => criteria.protocols = texts(value, protocol)?,
            "address" => criteria.addresses = texts(value, |word| word.parse().map_err(|_| NO_ADDRESS))?,
            "port" => criteria.ports = value::each(value, value::ports)?,
            "netns" => criteria.netns = texts(value, named)?,
            "services" => criteria.services = texts(value, named)?,
            "executables" => criteria.executables = texts(value, named)?,
            "uids" => criteria.uids = value::each(value, |one| value::uid(one, uid_of))?,
            "why" => drop(value::text(value)?),
            "severity" => severity = Some(self::severity(value)?),
            other => return Err(At::new(key, format!("there is no `{other}` here; there are {KEYS}"))),
        }
    }
    if criteria.fit_everything() {
        return Err(At::new(
            table,
            "this would fit every signal: say of which port, signal, services or users",
        ));
    }
    Ok(Entry { criteria, severity })
}

const NO_ADDRESS: &str = "write an IPv4 or IPv6 address without a port, such as 0.0.0.0 or ::1";

fn protocol(word: &str) -> Result<Transport, &'static str> {
    [Transport::Tcp, Transport::Udp]
        .into_iter()
        .find(|transport| transport.as_str() == word)
        .ok_or("write \"tcp\" (which is MPTCP's as well) or \"udp\"")
}

fn named(word: &str) -> Result<String, &'static str> {
    if word.is_empty() { Err("a name is missing") } else { Ok(word.to_owned()) }
}

fn severity(value: &Spanned<DeValue<'_>>) -> Result<Spanned<Severity>, At> {
    let word = value::text(value)?;
    let severity = Severity::ALL.into_iter().find(|severity| severity.as_str() == word);
    let severity = severity
        .ok_or_else(|| At::new(value, format!("`{word}` is no severity: write info, warning or critical")))?;
    Ok(Spanned::new(value.span(), severity))
}
