//! Sockets that take traffic from a port that another still has: by a more specific address, by the other family, by a
//! device. No call is refused, and who had the port is not told by the kernel.

use anyhow::Result;
use reuse_tests::{
    actor::Actor,
    daemon::Daemon,
    signals::{
        Stage, TAKER, VICTIM,
        pairs::{ANYONE, Pair, SAME_UID, TCP, UDP, stage_pairs},
    },
};

#[test]
fn a_more_specific_address() -> Result<()> {
    const SIGNAL: &str = "more_specific_shadow";
    let pairs = |kind, option: [&'static str; 2], who| {
        [
            Pair {
                signal: SIGNAL,
                kind,
                first: ("0.0.0.0", option[0]),
                second: ("127.0.0.1", option[0]),
                first_takes: false,
                traffic: ("127.0.0.1", true),
                who,
            },
            // Who was there first does not matter.
            Pair {
                signal: SIGNAL,
                kind,
                first: ("127.0.0.1", option[0]),
                second: ("0.0.0.0", option[0]),
                first_takes: true,
                traffic: ("127.0.0.1", false),
                who,
            },
            Pair {
                signal: SIGNAL,
                kind,
                first: ("::", option[1]),
                second: ("::1", option[1]),
                first_takes: false,
                traffic: ("::1", true),
                who,
            },
            Pair {
                signal: SIGNAL,
                kind,
                first: ("::", option[0]),
                second: ("::1", option[0]),
                first_takes: false,
                traffic: ("::1", true),
                who,
            },
        ]
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "specific")?;
    let with_reuseaddr = pairs(UDP, ["RA", "RA, V6ONLY"], ANYONE);
    let with_reuseport = [TCP, UDP].map(|kind| pairs(kind, ["RP", "RP, V6ONLY"], SAME_UID));
    stage_pairs(&daemon, &stage, &[with_reuseaddr, with_reuseport[0], with_reuseport[1]].concat())
}

#[test]
fn a_dual_stack_address() -> Result<()> {
    const SIGNAL: &str = "family_shadow";
    let pairs = |kind, option, who| {
        let pair = |first, second, first_takes, second_gets| Pair {
            signal: SIGNAL,
            kind,
            first: (first, option),
            second: (second, option),
            first_takes,
            traffic: ("127.0.0.1", second_gets),
            who,
        };
        [
            pair("::", "0.0.0.0", false, true),
            pair("0.0.0.0", "::", true, false),
            pair("::", "127.0.0.1", false, true),
            pair("127.0.0.1", "::", true, false),
            pair("::", "::ffff:127.0.0.1", false, true),
        ]
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "dual")?;
    let all_pairs = [pairs(UDP, "RA", ANYONE), pairs(TCP, "RP", SAME_UID), pairs(UDP, "RP", SAME_UID)];
    stage_pairs(&daemon, &stage, &all_pairs.concat())
}

/// `localhost` is both: clients that ask the other family first go to who listens there.
#[test]
fn the_other_family() -> Result<()> {
    let pairs = |kind| {
        let pair = |first, second, host| Pair {
            signal: "family_shadow",
            kind,
            first,
            second,
            first_takes: false,
            traffic: (host, true),
            who: ANYONE,
        };
        [
            pair(("0.0.0.0", ""), ("::", "V6ONLY"), "::1"),
            pair(("0.0.0.0", ""), ("::1", ""), "::1"),
            pair(("127.0.0.1", ""), ("::1", ""), "::1"),
            pair(("::1", ""), ("127.0.0.1", ""), "127.0.0.1"),
            pair(("::", "V6ONLY"), ("0.0.0.0", ""), "127.0.0.1"),
        ]
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "family")?;
    stage_pairs(&daemon, &stage, &[TCP, UDP].map(pairs).concat())
}

#[test]
fn a_device() -> Result<()> {
    const SIGNAL: &str = "device_shadow";
    // With SO_REUSEADDR the socket with the device has the traffic; with SO_REUSEPORT whichever is newer, by the scan of
    // the kernel, which ends at the first such socket.
    let pairs = |kind, [plain, with_device]: [&'static str; 2], newer_gets, who| {
        let pair = |any: &'static str, host| {
            [
                Pair {
                    signal: SIGNAL,
                    kind,
                    first: (any, plain),
                    second: (any, with_device),
                    first_takes: false,
                    traffic: (host, true),
                    who,
                },
                Pair {
                    signal: SIGNAL,
                    kind,
                    first: (any, with_device),
                    second: (any, plain),
                    first_takes: true,
                    traffic: (host, newer_gets),
                    who,
                },
            ]
        };
        [pair("0.0.0.0", "127.0.0.1"), pair("127.0.0.1", "127.0.0.1")].concat()
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "device")?;
    let with_reuseaddr = pairs(UDP, ["RA", "RA, through('lo')"], false, ANYONE);
    let with_reuseport = [TCP, UDP].map(|kind| pairs(kind, ["RP", "RP, through('lo')"], true, SAME_UID));
    stage_pairs(&daemon, &stage, &[&with_reuseaddr[..], &with_reuseport[0], &with_reuseport[1]].concat())
}

/// Each has a device of its own, and no option is needed: seen without the devices both are whole wildcards.
#[test]
fn another_device() -> Result<()> {
    let pair = |kind| Pair {
        signal: "device_shadow",
        kind,
        first: ("0.0.0.0", "through('rt0')"),
        second: ("0.0.0.0", "through('lo')"),
        first_takes: false,
        traffic: ("127.0.0.1", true),
        who: ANYONE,
    };
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "devices")?;
    stage.namespace().ip(&["link", "add", "rt0", "type", "veth", "peer", "name", "rt1"])?;
    stage_pairs(&daemon, &stage, &[TCP, UDP].map(pair))
}

/// What looks alike and takes nothing: one process with both sockets, addresses that do not meet, other namespaces.
#[test]
fn what_takes_nothing_raises_nothing() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "alike")?;
    stage.namespace().ip(&["address", "add", "192.0.2.1/32", "dev", "lo"])?;
    let mut one = stage.actor("rt-one", VICTIM)?;
    let mut other = stage.actor("rt-other", TAKER)?;
    for (port, kind) in [(8_001, TCP), (8_002, UDP)] {
        let call = if kind == TCP { "listening" } else { "bound" };
        let open = |host: &str, port: i32, options: &str| {
            format!("held.append({call}('{host}', {port}, {options}{kind}))")
        };
        let run = |actor: &mut Actor, statements: String| actor.run(&statements).map(drop);
        run(&mut one, "held = globals().get('held', [])".to_owned())?;
        run(&mut other, "held = globals().get('held', [])".to_owned())?;
        // A server of both families and several addresses.
        run(&mut one, open("0.0.0.0", port, "RP, "))?;
        run(&mut one, open("127.0.0.1", port, "RP, "))?;
        run(&mut one, open("::", port, "RP, V6ONLY, "))?;
        run(&mut one, open("0.0.0.0", port, "RP, through('lo'), "))?;
        // Another address of the same family, and of the other one where no name has both.
        run(&mut one, open("127.0.0.1", port + 10, ""))?;
        run(&mut other, open("127.0.0.2", port + 10, ""))?;
        run(&mut other, open("192.0.2.1", port + 20, ""))?;
        run(&mut one, open("::1", port + 20, ""))?;
        // Another port.
        run(&mut other, open("127.0.0.1", port + 30, ""))?;
    }
    // Another namespace, and the other protocol.
    let elsewhere = Stage::new(&daemon, "elsewhere")?;
    let mut far = elsewhere.actor("rt-far", TAKER)?;
    far.run("held = [listening('127.0.0.1', 8001), bound('0.0.0.0', 8002, RA, kind=SOCK_DGRAM)]")?;
    one.run("held += [listening('127.0.0.1', 8040)]")?;
    other.run("held += [bound('127.0.0.1', 8040, kind=SOCK_DGRAM)]")?;
    stage.assert_only(&[])?;
    elsewhere.assert_only(&[])
}
