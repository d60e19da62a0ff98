//! Holder and contender that are gone at once after the refusal, a thousand times at full speed: the right process is named
//! each time.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    effort,
    namespace::Namespace,
};
use serde_json::Value;

const ROUNDS: usize = 1_000;
/// Every round has a port of its own, in a namespace where all are free.
const FIRST_PORT: u64 = 10_000;

/// A holder and a contender for each round, which end once the contender was refused.
const ENDING: &str = r#"
def hold(comm, port, ready, refused):
    with open("/proc/self/comm", "w") as name:
        name.write(comm)
    held = listening("127.0.0.1", port)
    os.write(ready, b"x")
    os.read(refused, 1)
    os._exit(0)

def ask(port, refused):
    try:
        opened("127.0.0.1").bind(("127.0.0.1", port))
    except OSError:
        os.write(refused, b"x")
    os._exit(0)

answer = []
for number in range(ROUNDS):
    ready, refused = os.pipe(), os.pipe()
    comm, port = f"rt-race-{number}", FIRST_PORT + number
    holder = forked(lambda: hold(comm, port, ready[1], refused[0]))
    os.read(ready[0], 1)
    contender = forked(lambda: ask(port, refused[1]))
    for end in ready + refused:
        os.close(end)
    os.waitpid(holder, 0)
    os.waitpid(contender, 0)
    answer.append([holder, comm])
"#;

/// Four holders that take turns and one contender, which live on and close their sockets at once.
const CLOSING: &str = r#"
def hold(comm, turns, ready, refused, closed):
    with open("/proc/self/comm", "w") as name:
        name.write(comm)
    while True:
        (port,) = struct.unpack("H", os.read(turns, 2))
        held = listening("127.0.0.1", port)
        os.write(ready, struct.pack("H", port))
        os.read(refused, 1)
        held.close()
        os.write(closed, b"x")

def ask(ready, told):
    while True:
        (port,) = struct.unpack("H", os.read(ready, 2))
        asking = opened("127.0.0.1")
        try:
            asking.bind(("127.0.0.1", port))
        except OSError:
            os.write(told[port % 4], b"x")
        asking.close()

ready, closed = os.pipe(), os.pipe()
turns, refused = ([os.pipe() for _ in range(4)] for _ in range(2))
names = [f"rt-turn-{place}" for place in range(4)]
holders = [
    forked(lambda: hold(names[place], turns[place][0], ready[1], refused[place][0], closed[1])) for place in range(4)
]
contender = forked(lambda: ask(ready[0], [writing for _, writing in refused]))
answer = []
for number in range(ROUNDS):
    port = FIRST_PORT + number
    os.write(turns[port % 4][1], struct.pack("H", port))
    os.read(closed[0], 1)
    answer.append([holders[port % 4], names[port % 4]])
"#;

/// Runs the rounds, and checks that each refusal names exactly the holder of its round.
fn named_in_every_round(daemon: &Daemon, namespace: &Namespace, race: &str) -> Result<()> {
    let mut actor = namespace.run(|| Actor::start("rt-race"))?;
    let count = effort::fewer(ROUNDS, "rounds");
    let start = std::time::Instant::now();
    let rounds = actor.run(&format!("ROUNDS, FIRST_PORT = {count}, {FIRST_PORT}\n{race}"))?;
    let took = start.elapsed();
    let rounds = rounds.as_array().context("what the rounds were")?;
    let in_the_race = |event: &Value| {
        let port = event["contender"]["port"].as_u64().unwrap_or(0);
        event["type"] == "conflict"
            && event["contender"]["netns_name"] == namespace.name()
            && (FIRST_PORT..FIRST_PORT + count as u64).contains(&port)
    };
    let told = deadline::until("an event for every refusal", PROMPT, || {
        let mut told = daemon.events()?;
        told.retain(|event| in_the_race(event));
        Ok((told.len() >= count).then_some(told))
    })?;
    assert_eq!(told.len(), count, "one for each");

    let executable = actor.executable()?;
    let (mut wrong, mut confidences, mut read_in_time) = (Vec::new(), BTreeMap::new(), 0);
    for event in &told {
        let port = event["contender"]["port"].as_u64().context("a port")?;
        let round = &rounds[usize::try_from(port - FIRST_PORT)?];
        let owner = &event["holders"][0]["owners"][0];
        let right = event["holders"].as_array().is_some_and(|holders| holders.len() == 1)
            && event["holders"][0]["owners"].as_array().is_some_and(|owners| owners.len() == 1)
            && owner["pid"] == round[0]
            && owner["comm"] == round[1]
            && event["rule"] == "holder_is_listening";
        if !right {
            wrong.push(format!("wanted {round}, told {event}"));
        }
        *confidences.entry(event["confidence"].to_string()).or_insert(0) += 1;
        read_in_time += u32::from(owner["executable"] == executable.as_str());
    }
    println!("{count} rounds in {took:?}: {confidences:?}, the executable still readable in {read_in_time}");
    assert!(wrong.is_empty(), "{} of {count} wrong, the first:\n{}", wrong.len(), wrong[0]);
    Ok(())
}

#[test]
fn processes_that_end_at_once_are_named() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("race-end")?;
    let daemon = launch.flags(["--events.repeats", "all"]).start()?;
    named_in_every_round(&daemon, &namespace, ENDING)
}

#[test]
fn sockets_that_close_at_once_are_named() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("race-close")?;
    let daemon = launch.flags(["--events.repeats", "all"]).start()?;
    named_in_every_round(&daemon, &namespace, CLOSING)
}
