//! Which `Host` the page and the API answer.
//!
//! A page from elsewhere can make a browser send requests here under a name that its owner pointed at a loopback
//! or private address (DNS rebinding). Such a request carries that name as its host; a person's own carries an
//! address or `localhost`.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, Uri, header, uri::Authority};

/// What is wrong with a request's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No host, two, or one that is none
    Malformed,
    /// A name this daemon does not go by
    Foreign,
}

/// Checks the host of a request: the target's where it carries one, and the header's in any case.
pub(super) fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refused::Malformed);
    };
    let host: Authority = host.to_str().ok().and_then(|host| host.parse().ok()).ok_or(Refused::Malformed)?;
    let named = std::iter::once(&host).chain(uri.authority());
    for authority in named {
        if authority.as_str().contains('@') {
            return Err(Refused::Malformed);
        }
        if !is_local(authority.host()) {
            return Err(Refused::Foreign);
        }
    }
    Ok(())
}

/// Whether a host is an address or `localhost`, which no one can point elsewhere.
fn is_local(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(target: &'static str, hosts: &[&str]) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().expect("a header value"));
        }
        check(&Uri::from_static(target), &headers)
    }

    #[test]
    fn addresses_and_localhost_are_answered() {
        for host in
            ["127.0.0.1", "127.0.0.1:10542", "[::1]:10542", "[2001:db8::1]", "LocalHost:1", "192.0.2.7:80"]
        {
            assert_eq!(verdict("/", &[host]), Ok(()), "{host}");
        }
        assert_eq!(verdict("http://127.0.0.1/", &["127.0.0.1"]), Ok(()));
    }

    #[test]
    fn names_are_refused() {
        for host in ["evil.example", "evil.example:10542", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            assert_eq!(verdict("/", &[host]), Err(Refused::Foreign), "{host}");
        }
        assert_eq!(verdict("http://evil.example/", &["127.0.0.1"]), Err(Refused::Foreign));
    }

    #[test]
    fn what_is_no_single_host_is_refused() {
        for hosts in [&[][..], &[""], &["a b"], &["me@127.0.0.1"], &["127.0.0.1", "127.0.0.1"]] {
            assert_eq!(verdict("/", hosts), Err(Refused::Malformed), "{hosts:?}");
        }
    }
}
