//! What a holder is called, and what its going is called.

use std::{net::SocketAddr, time::Duration};

use super::Departure;
use crate::{
    port::{Occupant, Tenure},
    socket::State,
};

/// How holders go, and how long that takes.
pub(super) fn leaving(departure: Departure, who: &str, holders: &[&Occupant]) -> String {
    let (is, has) = if holders.len() == 1 { ("is", "it has") } else { ("are", "they have") };
    match departure {
        Departure::Close => format!("stop {who}"),
        Departure::EndConnection => format!("end {who} and wait until {has} left TIME_WAIT"),
        Departure::CloseListener if matches!(who, "it" | "them") => "close the listener".to_owned(),
        Departure::CloseListener => format!("close the listener of {who}"),
        Departure::StopKernelService => format!("shut down the kernel service behind {who}"),
        Departure::Expire if holders.iter().all(|holder| holder.state == State::TimeWait) => {
            format!("wait {} until {who} {is} gone", patience(holders))
        }
        Departure::Expire => format!("wait until {who} {is} gone, TIME_WAIT included"),
    }
}

/// How long TIME_WAIT lasts, the longest of several; 60 s is `TCP_TIMEWAIT_LEN` (include/net/tcp.h).
fn patience(holders: &[&Occupant]) -> String {
    let known: Option<Vec<Duration>> = holders.iter().map(|holder| holder.expires_in).collect();
    known.and_then(|times| times.into_iter().max()).map_or_else(
        || "at most 60 s".to_owned(),
        |longest| format!("{} s", longest.as_secs() + u64::from(longest.subsec_nanos() > 0)),
    )
}

/// `the listener on 127.0.0.1:8080`, `the 3 sockets on port 8080`.
pub(super) fn who(holders: &[&Occupant], number: u16) -> String {
    let Some(first) = holders.first() else { return "it".to_owned() };
    let mut nouns: Vec<(&str, &str)> = holders.iter().map(|holder| noun(holder)).collect();
    nouns.dedup();
    let (one, many) = if let [noun] = nouns[..] { noun } else { ("socket", "sockets") };
    let place = SocketAddr::new(first.address, number);
    match holders.len() {
        1 => format!("the {one} on {place}"),
        count if holders.iter().all(|holder| holder.address == first.address) => {
            format!("the {count} {many} on {place}")
        }
        count => format!("the {count} {many} on port {number}"),
    }
}

fn noun(holder: &Occupant) -> (&'static str, &'static str) {
    match (holder.tenure, holder.state) {
        (_, State::TimeWait) => ("connection in TIME_WAIT", "connections in TIME_WAIT"),
        (Tenure::Orphan, _) => ("closing connection", "closing connections"),
        (Tenure::Unaccepted, _) => {
            ("connection that waits to be accepted", "connections that wait to be accepted")
        }
        (Tenure::Held, State::Listen) => ("listener", "listeners"),
        (Tenure::Held, State::Connected | State::Closing) => ("connection", "connections"),
        (Tenure::Held, State::Bound) => ("socket", "sockets"),
    }
}
