//! Name servers as they stand beside each other on one host: a resolver with a socket for each thread and address, a
//! forwarder on loopback that asks it, and one for each virtual bridge, which also serves DHCP there. Each is restarted, or
//! reloads, while clients ask.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::stage::{Played, Stage};
use crate::{
    deadline,
    namespace::Namespace,
    scratch::Scratch,
    servers::{Program, Running},
};

const PORT: u16 = 53;
/// Where the forwarder finds the resolver.
const UPSTREAM: u16 = 5335;
/// A virtual bridge with its address and what DHCP gives away there.
const BRIDGES: [(&str, &str, &str); 2] = [
    ("virbr0", "192.168.122.1", "192.168.122.2,192.168.122.254"),
    ("virbr1", "192.168.123.1", "192.168.123.2,192.168.123.254"),
];
/// Identity, flags (a query that asks for recursion), one question: a.test, type A, class IN.
const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01";
/// How long a client waits before it asks again, as resolvers do.
const AGAIN: Duration = Duration::from_millis(500);

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let [unbound, dnsmasq] = match Program::available(["unbound", "dnsmasq"]) {
        Ok(programs) => programs,
        Err(why) => return Ok(Played::LeftOut(why)),
    };
    let namespace = stage.namespace("dns")?;
    let scratch = Scratch::new("quiet-dns")?;
    for (bridge, address, _) in BRIDGES {
        // Its far end is a guest.
        namespace.ip(&["link", "add", bridge, "type", "veth", "peer", "name", &format!("{bridge}-guest")])?;
        namespace.ip(&["addr", "add", &format!("{address}/24"), "dev", bridge])?;
        namespace.ip(&["link", "set", bridge, "up"])?;
        namespace.ip(&["link", "set", &format!("{bridge}-guest"), "up"])?;
    }
    let resolver = resolver(&unbound, &namespace, &scratch)?;
    let mut forwarder = forwarder(&dnsmasq, &namespace, &scratch)?;
    let bridge = |number: usize| bridged(&dnsmasq, &namespace, &scratch, BRIDGES[number]);
    let mut bridges = [bridge(0)?, bridge(1)?];

    let done = AtomicBool::new(false);
    let (answers, restarts) = thread::scope(|scope| {
        let clients = scope.spawn(|| clients(&namespace, &done));
        let mut rounds = || {
            for round in 0.. {
                stage.pause(Duration::from_secs(2));
                if stage.is_over() {
                    return anyhow::Ok(round);
                }
                match round % 3 {
                    0 => {
                        bridges[0].end()?;
                        bridges[0] = bridge(0)?;
                    }
                    1 => resolver.signal(Signal::SIGHUP)?,
                    _ => {
                        forwarder.end()?;
                        forwarder = self::forwarder(&dnsmasq, &namespace, &scratch)?;
                    }
                }
            }
            Ok(0)
        };
        let restarts = rounds();
        done.store(true, Relaxed);
        let answers = clients.join().unwrap_or_else(|panic| resume_unwind(panic));
        anyhow::Ok((answers?, restarts?))
    })?;
    Ok(Played::Done(format!("{restarts} restarts and reloads, {answers} answers")))
}

/// Clients of every server, until it is done: the answers they got.
fn clients(namespace: &Namespace, done: &AtomicBool) -> Result<u64> {
    let servers = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
        SocketAddr::from((Ipv4Addr::LOCALHOST, UPSTREAM)),
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, 53), PORT)),
    ];
    let bridges =
        BRIDGES.iter().map(|(_, address, _)| anyhow::Ok(SocketAddr::new(address.parse::<IpAddr>()?, PORT)));
    let servers: Vec<SocketAddr> = servers.into_iter().map(Ok).chain(bridges).collect::<Result<_>>()?;
    let mut answers = 0;
    while !done.load(Relaxed) {
        for server in &servers {
            namespace.run(|| ask(*server))?;
            answers += 1;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(answers)
}

/// Asks from a socket of its own until there is an answer: a server that is being restarted gives none.
fn ask(server: SocketAddr) -> Result<()> {
    let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    client.set_read_timeout(Some(AGAIN))?;
    let mut answer = [0; 512];
    let length = deadline::until(&format!("an answer of {server}"), deadline::PROMPT, || {
        // Nobody there is said by ICMP, at the next send or receive.
        let asked = client.send_to(QUERY, server);
        Ok(asked.and_then(|_| client.recv(&mut answer)).ok())
    })?;
    let answer = answer.get(..length).unwrap_or_default();
    ensure!(
        answer.get(..2) == QUERY.get(..2) && answer.ends_with(&[192, 0, 2, 1]),
        "{server}: {answer:02x?}"
    );
    Ok(())
}

/// unbound on two addresses of loopback and two ports, two threads with sockets of their own for each.
fn resolver(program: &Program, namespace: &Namespace, scratch: &Scratch) -> Result<Running> {
    let folder = scratch.path();
    let text = format!(
        "server:\n\
         directory: \"{0}\"\n\
         chroot: \"\"\n\
         username: nobody\n\
         pidfile: \"\"\n\
         use-syslog: no\n\
         module-config: iterator\n\
         interface: 127.0.0.53@{PORT}\n\
         interface: 127.0.0.1@{UPSTREAM}\n\
         interface: ::1@{UPSTREAM}\n\
         num-threads: 2\n\
         so-reuseport: yes\n\
         local-zone: \"test.\" static\n\
         local-data: \"a.test. A 192.0.2.1\"\n\
         remote-control:\n\
         control-enable: no\n",
        folder.display(),
    );
    fs::write(folder.join("unbound"), text).context("writing unbound's configuration")?;
    let mut command = program.command();
    command.arg("-d").arg("-c").arg(folder.join("unbound"));
    let mut running = Running::start(namespace, &mut command, &folder.join("unbound-output"))?;
    running.until_listening(UPSTREAM)?;
    Ok(running)
}

/// dnsmasq on loopback in both families, which remembers nothing and asks the resolver each time.
fn forwarder(program: &Program, namespace: &Namespace, scratch: &Scratch) -> Result<Running> {
    let upstream = format!("--server=127.0.0.1#{UPSTREAM}");
    let arguments = ["--bind-interfaces", "--listen-address=127.0.0.1,::1", "--cache-size=0", &upstream];
    dnsmasq(program, namespace, scratch, "loopback", &arguments)
}

/// dnsmasq for a virtual bridge, as libvirt starts it.
fn bridged(
    program: &Program,
    namespace: &Namespace,
    scratch: &Scratch,
    (bridge, _, range): (&str, &str, &str),
) -> Result<Running> {
    let arguments = [
        "--bind-dynamic",
        &format!("--interface={bridge}"),
        "--except-interface=lo",
        &format!("--dhcp-range={range}"),
        &format!("--dhcp-leasefile={}", scratch.path().join(bridge).display()),
        &format!("--server=127.0.0.1#{UPSTREAM}"),
    ];
    dnsmasq(program, namespace, scratch, bridge, &arguments)
}

fn dnsmasq(
    program: &Program,
    namespace: &Namespace,
    scratch: &Scratch,
    name: &str,
    arguments: &[&str],
) -> Result<Running> {
    let mut command = program.command();
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--no-resolv",
        "--no-hosts",
    ]);
    command.args(["--user=nobody", "--group=nogroup", "--log-facility=-"]).args(arguments);
    let output = scratch.path().join(format!("dnsmasq-{name}"));
    let mut running = Running::start(namespace, &mut command, &output)?;
    running.until_listening(PORT)?;
    Ok(running)
}
