//! What `explain` predicts, against a real bind right after it.

use anyhow::{Context, Result, bail, ensure};
use reuse_tests::{
    effort,
    explain::{Explain, Spec, confirmed, dump},
    namespace::{self, Namespace},
    sockets::{
        self,
        Transport::{self, Tcp, Udp},
    },
    user::NOBODY,
};
use serde_json::Value;
use socket2::Socket;

const PORT: u16 = 18_080;
const PRIVILEGED: u16 = 80;

/// What is on the port, and who asks.
struct Situation {
    name: &'static str,
    holders: Vec<Spec>,
    contender: Spec,
    port: u16,
}

impl Situation {
    /// Puts the holders there.
    fn hold(&self) -> Result<Vec<Socket>> {
        let attempt = |spec: &Spec| match spec.attempt(self.port)? {
            Ok(socket) => Ok(socket),
            Err(refused) => bail!("holder {spec:?}: {refused:?}"),
        };
        self.holders.iter().map(attempt).collect()
    }
}

fn situation(name: &'static str, holders: &[Spec], contender: Spec) -> Situation {
    Situation { name, holders: holders.to_vec(), contender, port: PORT }
}

fn at(transport: Transport, address: &str) -> Spec {
    Spec::new(transport, address)
}

fn listening(spec: Spec) -> Spec {
    Spec { listen: true, ..spec }
}

fn ra(spec: Spec) -> Spec {
    Spec { reuseaddr: true, ..spec }
}

fn rp(spec: Spec) -> Spec {
    Spec { reuseport: true, ..spec }
}

fn of(uid: u32, spec: Spec) -> Spec {
    Spec { uid, ..spec }
}

fn v6only(spec: Spec) -> Spec {
    Spec { v6only: true, ..spec }
}

fn on(device: &'static str, spec: Spec) -> Spec {
    Spec { device: Some(device), ..spec }
}

fn situations() -> Vec<Situation> {
    let lo = "127.0.0.1";
    let mut all = vec![
        situation("free", &[], at(Tcp, lo)),
        situation("listener", &[listening(at(Tcp, lo))], at(Tcp, lo)),
        situation("listener_reuseaddr", &[listening(ra(at(Tcp, lo)))], ra(at(Tcp, lo))),
        situation("bound_exclusive", &[at(Tcp, lo)], at(Tcp, lo)),
        situation("bound_contender_reuseaddr", &[at(Tcp, lo)], ra(at(Tcp, lo))),
        situation("bound_holder_reuseaddr", &[ra(at(Tcp, lo))], at(Tcp, lo)),
        situation("bound_both_reuseaddr", &[ra(at(Tcp, lo))], ra(at(Tcp, lo))),
        situation("both_reuseaddr_then_listen", &[ra(at(Tcp, lo))], listening(ra(at(Tcp, lo)))),
        situation("group", &[listening(rp(at(Tcp, lo)))], listening(rp(at(Tcp, lo)))),
        situation("group_contender_lacks", &[listening(rp(at(Tcp, lo)))], at(Tcp, lo)),
        situation("group_holder_lacks", &[listening(at(Tcp, lo))], rp(at(Tcp, lo))),
        situation("group_other_user", &[listening(rp(at(Tcp, lo)))], of(NOBODY, rp(at(Tcp, lo)))),
        situation("other_address", &[listening(at(Tcp, lo))], at(Tcp, "127.0.0.2")),
        situation("wildcard_holder", &[listening(at(Tcp, "0.0.0.0"))], at(Tcp, lo)),
        situation("wildcard_contender", &[listening(at(Tcp, lo))], at(Tcp, "0.0.0.0")),
        situation("dual_stack_holder", &[listening(at(Tcp, "::"))], at(Tcp, lo)),
        situation("dual_stack_contender", &[listening(at(Tcp, lo))], at(Tcp, "::")),
        situation("v6only_holder", &[listening(v6only(at(Tcp, "::")))], at(Tcp, "0.0.0.0")),
        situation("v6only_contender", &[listening(at(Tcp, "0.0.0.0"))], v6only(at(Tcp, "::"))),
        situation("mapped_contender", &[listening(at(Tcp, lo))], at(Tcp, "::ffff:127.0.0.1")),
        situation("mapped_holder", &[listening(at(Tcp, "::ffff:127.0.0.1"))], at(Tcp, lo)),
        situation("mapped_v6only", &[], v6only(at(Tcp, "::ffff:127.0.0.1"))),
        situation("ipv6", &[listening(at(Tcp, "::1"))], at(Tcp, "::1")),
        situation("other_device", &[listening(on("lo", at(Tcp, "0.0.0.0")))], on("rt0", at(Tcp, "0.0.0.0"))),
        situation("same_device", &[listening(on("lo", at(Tcp, "0.0.0.0")))], on("lo", at(Tcp, "0.0.0.0"))),
        situation("device_and_none", &[listening(on("rt0", at(Tcp, "0.0.0.0")))], at(Tcp, "0.0.0.0")),
        situation("ipv6_on_other_device", &[], on("rt0", at(Tcp, "::1"))),
        situation("ipv6_of_other_device", &[], on("lo", at(Tcp, "fd00::77"))),
        situation("mapped_on_other_device", &[], on("rt0", at(Tcp, "::ffff:127.0.0.1"))),
        situation("ipv4_on_other_device", &[], on("rt0", at(Tcp, lo))),
        situation("address_not_local", &[], at(Tcp, "192.0.2.99")),
        situation("address_of_interface", &[], at(Tcp, "192.0.2.77")),
        situation("broadcast_of_interface", &[], at(Udp, "192.0.2.255")),
        situation("address_by_local_route", &[], at(Tcp, "10.9.3.4")),
        situation("address_taken_out_of_local_route", &[], at(Tcp, "10.9.9.1")),
        situation("ipv6_not_local", &[], at(Tcp, "2001:db8::99")),
        situation("ipv6_local_route_is_none", &[], at(Tcp, "2001:db8:9::1")),
        situation("multicast_tcp", &[], at(Tcp, "224.0.0.9")),
        situation("multicast_tcp_ipv6", &[], at(Tcp, "ff0e::9")),
        situation("multicast_udp_ipv6", &[], at(Udp, "ff0e::9")),
        situation("link_local_without_scope", &[], at(Udp, "fe80::1")),
        situation("link_local_on_device", &[], on("rt0", at(Udp, "fe80::77"))),
        situation("this_network", &[], at(Tcp, "0.1.2.3")),
        situation("udp_exclusive", &[at(Udp, lo)], at(Udp, lo)),
        situation("udp_both_reuseaddr", &[ra(at(Udp, lo))], of(NOBODY, ra(at(Udp, lo)))),
        situation("udp_group", &[rp(at(Udp, lo))], rp(at(Udp, lo))),
        situation("udp_group_other_user", &[rp(at(Udp, lo))], of(NOBODY, rp(at(Udp, lo)))),
        situation("udp_order_allows", &[at(Udp, "127.0.0.2"), rp(at(Udp, lo))], rp(at(Udp, "0.0.0.0"))),
        situation("udp_order_refuses", &[rp(at(Udp, lo)), at(Udp, "127.0.0.2")], rp(at(Udp, "0.0.0.0"))),
        situation("udp_beside_tcp", &[listening(at(Tcp, lo))], at(Udp, lo)),
        situation("bucket_cache", &[ra(at(Tcp, lo)), rp(ra(at(Tcp, lo)))], rp(at(Tcp, lo))),
    ];
    all.extend([
        Situation { port: PRIVILEGED, ..situation("privileged", &[], of(NOBODY, at(Tcp, lo))) },
        Situation { port: PRIVILEGED, ..situation("privileged_root", &[], at(Tcp, lo)) },
        Situation {
            port: PRIVILEGED,
            ..situation("privileged_foreign_ipv4", &[], of(NOBODY, at(Tcp, "192.0.2.99")))
        },
        Situation {
            port: PRIVILEGED,
            ..situation("privileged_foreign_ipv6", &[], of(NOBODY, at(Tcp, "2001:db8::99")))
        },
    ]);
    all
}

/// A namespace with an interface besides loopback, its addresses, and local routes.
fn equipped() -> Result<Namespace> {
    let namespace = Namespace::new("explain")?;
    for words in [
        &["link", "add", "rt0", "type", "veth", "peer", "name", "rt1"][..],
        &["link", "set", "rt1", "up"],
        &["addr", "add", "192.0.2.77/24", "brd", "+", "dev", "rt0"],
        &["-6", "addr", "add", "fd00::77/64", "dev", "rt0", "nodad"],
        &["-6", "addr", "add", "fe80::77/64", "dev", "rt0", "nodad"],
        &["link", "set", "rt0", "up"],
        &["route", "add", "local", "10.9.0.0/16", "dev", "lo"],
        &["route", "add", "10.9.9.0/24", "dev", "rt0"],
        &["-6", "route", "add", "local", "2001:db8:9::/48", "dev", "lo"],
    ] {
        namespace.ip(words)?;
    }
    Ok(namespace)
}

#[test]
fn the_prediction_is_what_a_bind_then_gives() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = equipped()?;
    let mut wrong = Vec::new();
    let mut asked = 0;
    let all = situations();
    let fewer = effort::fewer_but(all.len(), all.len() / 5, "situations");
    for situation in all.iter().step_by(all.len() / fewer) {
        let outcome = namespace.run(|| check(&explain, situation).context(situation.name))?;
        asked += 1;
        wrong.extend(outcome);
    }
    assert!(wrong.is_empty(), "{} of {asked} situations:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// What was predicted wrongly, if anything.
fn check(explain: &Explain, situation: &Situation) -> Result<Option<String>> {
    let held = situation.hold()?;
    dump(explain, situation.name, &situation.contender, situation.port)?;
    let answer = match confirmed(explain, &situation.contender, situation.port) {
        Ok(answer) => answer,
        Err(error) => return Ok(Some(format!("{}: {error:#}", situation.name))),
    };
    shape(&answer, &held).with_context(|| answer.to_string())?;
    Ok(None)
}

/// What must be right about an answer whatever it says.
fn shape(answer: &Value, held: &[Socket]) -> Result<()> {
    let in_use = answer["errno"] == "EADDRINUSE";
    let refused = answer["outcome"] == "refused";
    ensure!(answer["rule"].is_null() != refused && answer["remedy"].is_null() != refused, "rule and remedy");
    let holders = answer["holders"].as_array().context("holders")?;
    ensure!(!in_use || !holders.is_empty(), "EADDRINUSE without a holder");
    let inodes = held.iter().map(sockets::inode).collect::<Result<Vec<_>>>()?;
    for holder in holders {
        let inode = holder["inode"].as_u64().context("inode")?;
        ensure!(inodes.contains(&inode), "a holder that is none of {inodes:?}");
        let owners = holder["owners"].as_array().context("owners")?;
        let own =
            owners.iter().find(|owner| owner["pid"] == std::process::id()).context("this process owns it")?;
        ensure!(own["fds"].as_array().is_some_and(|fds| fds.len() == 1), "its descriptor");
        ensure!(own["cmdline"].as_array().is_some_and(|words| !words.is_empty()), "its command line");
        ensure!(holder["reuseaddr"].is_boolean() && holder["reuseport"].is_boolean(), "its options");
        ensure!(holder["rule"].is_string() && holder["netns"] == namespace::inode()?, "rule and namespace");
    }
    Ok(())
}

#[test]
fn passing_by_memory_or_by_order_is_said() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = equipped()?;
    for (name, flag, sentence) in [
        ("bucket_cache", "allowed_by_bucket_cache", "remembers of the port's earlier binds"),
        ("udp_order_allows", "allowed_by_scan_order", "stands first in the kernel's list"),
    ] {
        let all = situations();
        let situation = all.iter().find(|situation| situation.name == name).context(name)?;
        namespace.run(|| {
            let _held = situation.hold()?;
            let arguments = situation.contender.arguments(PORT);
            let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let text = explain.run(&words)?.stdout;
            assert!(text.contains("would succeed") && text.contains(sentence), "{text}");
            words.push("--json");
            let answer = explain.run(&words)?.answer()?;
            assert_eq!(answer[flag], true, "{answer}");
            assert_eq!(answer["holders"].as_array().map(Vec::len), Some(1), "{answer}");
            Ok(())
        })?;
    }
    Ok(())
}
