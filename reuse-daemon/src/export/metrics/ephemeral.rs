//! Listeners on ports that the kernel gives away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{family::Family, page::Page};

const LISTENERS: Family = Family::gauge(
    "reuse_listeners_in_ephemeral_range",
    "Listeners on a port of net.ipv4.ip_local_port_range that is not reserved: a connection may take it while they are down.",
    &["netns", "protocol"],
);

/// Most namespaces with series of their own; further ones are counted under `other`.
const NAMESPACES_MAX: usize = 64;

/// How many listeners there are by name of their network namespace and protocol.
pub type EphemeralListeners = BTreeMap<(Arc<str>, &'static str), u64>;

/// Writes every family of this area.
pub(super) fn write(page: &mut Page, listeners: &EphemeralListeners) {
    let mut series: BTreeMap<(&str, &str), u64> =
        ["tcp", "udp"].map(|protocol| (("host", protocol), 0)).into();
    let mut named = BTreeSet::from(["host", "other"]);
    for ((netns, protocol), count) in listeners {
        let has_room = named.contains(&**netns) || named.len() < NAMESPACES_MAX;
        let netns = if has_room { &**netns } else { "other" };
        named.insert(netns);
        *series.entry((netns, protocol)).or_default() += count;
    }
    page.write(&LISTENERS, series.into_iter().map(|((netns, protocol), count)| ([netns, protocol], count)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(listeners: &EphemeralListeners) -> Vec<String> {
        let mut page = Page::default();
        write(&mut page, listeners);
        let text = page.into_text();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn the_host_has_series_from_the_start_and_a_namespace_once_it_has_a_listener() {
        let listeners = [((Arc::from("web"), "udp"), 2), ((Arc::from("host"), "tcp"), 1)].into();
        let expected =
            [("host", "tcp", 1), ("host", "udp", 0), ("web", "udp", 2)].map(|(netns, protocol, count)| {
                format!(
                    r#"reuse_listeners_in_ephemeral_range{{netns="{netns}",protocol="{protocol}"}} {count}"#
                )
            });
        assert_eq!(written(&listeners), expected);
    }

    #[test]
    fn namespaces_beyond_the_limit_are_one() {
        let many = (0..200).map(|number| ((Arc::from(format!("pod-{number:03}")), "tcp"), 1)).collect();
        let lines = written(&many);
        assert_eq!(lines.len(), NAMESPACES_MAX + 1, "{lines:?}");
        let left = 200 - (NAMESPACES_MAX - 2);
        let other = format!(r#"reuse_listeners_in_ephemeral_range{{netns="other",protocol="tcp"}} {left}"#);
        assert!(lines.contains(&other), "{lines:?}");
    }
}
