//! What was there before the daemon: judged as found, listed while it lasts, and counted as nothing that happened.

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::Launch,
    deadline::{self, PROMPT},
    events::assert_fields,
    namespace::Namespace,
    signals::{self, Double, Expected, Party, Stage, TAKER, VICTIM, counted},
};
use serde_json::{Value, json};

const UDP: &str = "kind=SOCK_DGRAM";

#[test]
fn what_is_there_is_listed_and_not_counted() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("found")?;
    let double = Double::new("rt-double")?;
    let python = || std::process::Command::new("python3");
    let mut victim = signals::actor_in(&namespace, python(), "rt-victim", VICTIM)?;
    let mut foreign = signals::actor_in(&namespace, python(), "rt-foreign", TAKER)?;
    let mut program = signals::actor_in(&namespace, double.command(), "rt-program", VICTIM)?;
    let mut root = signals::actor_in(&namespace, python(), "rt-root", 0)?;

    let mut expected = Vec::new();
    let mut pair = |signal, severity, parties: [Party; 2]| {
        let [victim, taker] = parties;
        let pair = Expected::new(signal, severity).and(victim).and(taker);
        // Where it is not the address, the device or the state that tells them apart.
        let are_alike = ["foreign_program_join", "foreign_uid_share", "family_shadow"].contains(&signal);
        expected.push(if are_alike { pair.either_way() } else { pair });
    };
    victim.run(&format!("a = bound('0.0.0.0', 8001, RA, {UDP})"))?;
    foreign.run(&format!("a = bound('127.0.0.1', 8001, RA, {UDP})"))?;
    pair(
        "more_specific_shadow",
        "critical",
        [Party::new("victim", &mut victim, "a")?, Party::new("taker", &mut foreign, "a")?],
    );
    victim.run("b = listening('127.0.0.1', 8002, RP)")?;
    program.run("b = listening('127.0.0.1', 8002, RP)")?;
    pair(
        "foreign_program_join",
        "warning",
        [Party::new("victim", &mut victim, "b")?, Party::new("taker", &mut program, "b")?],
    );
    victim.run("c = bound('127.0.0.1', 8003, RA)")?;
    foreign.run("c = bound('127.0.0.1', 8003, RA); c.listen()")?;
    pair(
        "listen_squat",
        "critical",
        [Party::new("victim", &mut victim, "c")?, Party::new("taker", &mut foreign, "c")?],
    );
    victim.run("d = listening('127.0.0.1', 8004)")?;
    foreign.run("d = listening('::1', 8004)")?;
    pair(
        "family_shadow",
        "critical",
        [Party::new("victim", &mut victim, "d")?, Party::new("taker", &mut foreign, "d")?],
    );
    victim.run(&format!("e = bound('0.0.0.0', 8005, RA, {UDP})"))?;
    foreign.run(&format!("e = bound('0.0.0.0', 8005, RA, through('lo'), {UDP})"))?;
    pair(
        "device_shadow",
        "critical",
        [Party::new("victim", &mut victim, "e")?, Party::new("taker", &mut foreign, "e")?],
    );
    victim.run(&format!("f = bound('::1', 8006, RA, {UDP})"))?;
    foreign.run(&format!("f = bound('::1', 8006, RA, {UDP})"))?;
    pair(
        "foreign_uid_share",
        "critical",
        [Party::new("victim", &mut victim, "f")?, Party::new("taker", &mut foreign, "f")?],
    );
    victim.run("g = listening('127.0.0.1', 8007)")?;
    root.run("g = opened('127.0.0.1'); g.setsockopt(IPPROTO_TCP, TCP_REPAIR, 1); g.bind(('127.0.0.1', 8007)); g.listen()")?;
    pair(
        "repair_bind",
        "critical",
        [Party::new("victim", &mut victim, "g")?, Party::new("taker", &mut root, "g")?],
    );

    root.run(&format!("h = opened('127.0.0.1'); os.fchown(h.fileno(), {VICTIM}, -1); h.bind(('127.0.0.1', 8008)); h.listen()"))?;
    expected.push(Expected::new("owner_change", "warning").party("taker", &mut root, "h")?);
    let mut second = signals::actor_in(&namespace, python(), "rt-second", VICTIM)?;
    for actor in [&mut victim, &mut second] {
        actor.run("i = listening('127.0.0.1', 8009, RP)")?;
    }
    second.run("attach_program(i)")?;
    expected.push(Expected::new("group_steering", "info").party("member", &mut victim, "i")?.party(
        "member",
        &mut second,
        "i",
    )?);
    victim.run(
        "j = listening('127.0.0.1', 8010)\n\
         def start():\n\
         \x20   os.set_inheritable(j.fileno(), True)\n\
         \x20   os.execvp('sleep', ['sleep', '600'])\n\
         ends = os.pipe()\n\
         child = forked(start)\n\
         os.close(ends[1]); os.read(ends[0], 1)",
    )?;
    expected.push(Expected::new("inherited_listener", "info").party("holder", &mut victim, "j")?);

    let daemon = launch.start()?;
    let stage = Stage::of(&daemon, namespace)?;
    for one in &expected {
        let listed = stage.listed(one)?;
        one.assert_told(&listed)?;
        assert_fields(
            &listed,
            &json!({ "found": true, "until": null, "netns_name": stage.namespace().name() }),
        );
        stage.active(one, true)?;
    }
    let listed = stage.list()?;
    assert_eq!(listed.len(), expected.len(), "nothing else is listed: {listed:#?}");
    // What was found is no event and counts as none.
    stage.assert_only(&[])?;
    counted(&daemon)?;

    // It ends like any other. The program stays with the members that stay.
    second.run("i.setsockopt(SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)")?;
    for end in [&mut foreign, &mut program, &mut second, &mut root] {
        end.run("for held in list(globals().values()):\n\x20   if isinstance(held, socket): held.close()")?;
    }
    victim.run("end(child)")?;
    let left = || -> Result<Vec<Value>> {
        Ok(stage.list()?.into_iter().filter(|signal| signal["until"].is_null()).collect())
    };
    let outcome = deadline::until("all have ended", PROMPT, || Ok(left()?.is_empty().then_some(())));
    outcome.with_context(|| format!("{:#?}", left()))?;
    for one in &expected {
        stage.active(one, false)?;
    }
    assert_eq!(stage.list()?.len(), expected.len(), "listed for an hour");
    stage.assert_only(&[])
}
