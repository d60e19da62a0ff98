//! The JSON, field by field.

use serde_json::{Value, json, to_value};

use super::*;
use crate::{
    endpoint::{Family, Transport},
    event::{Event, Moment, Phase},
    fixtures::{self, Everyone, Numbers, call, comm, facts, loopback, udp_member},
    group::Groups,
    inventory::{Inventory, Limits},
    process::{Process, Processes},
    socket::{Inode, SocketFacts, State},
    test_group::{Probe, TestGroup, TestGroups},
};

fn value(record: &Record) -> Value {
    to_value(record).expect("serialises")
}

/// Process 10 with a hostile name.
fn process() -> Process {
    let mut process = Process::clone(&Everyone.process(10, comm("srv"), 0));
    process.exe = Some(b"/opt/s\xffrv".as_slice().into());
    process
}

#[test]
fn a_refusal_is_a_conflict_with_the_fields_of_the_interface() {
    let mut refused = call(Phase::Bind, 98, 10, 7, facts(5, 0));
    refused.requested = Some(loopback(8080));
    refused.caller.comm = comm("a\nb\\");
    let body = RecordBody::conflict(&fixtures::conflict(&refused, &process()), 3, false, &Numbers);
    let mut record = value(&Record::new(refused.at, body, &Numbers));
    let remedy = record["remedy"].take();
    assert!(remedy.as_str().is_some_and(|text| text.contains("127.0.0.1:8080")), "{remedy}");
    assert_eq!(
        record,
        json!({
            "schema": 1, "type": "conflict", "time": "t7", "boottime_ns": 7,
            "contender": {
                "pid": 10, "tid": 10, "comm": "a\\x0ab\\x5c", "executable": "srv", "service": "srv", "uid": 0,
                "cgroup_id": 1, "socket_uid": 0, "netns": 4_026_531_840_u32, "netns_name": "host", "inode": 5,
                "cookie": 0, "protocol": "tcp", "family": "ipv4", "address": "127.0.0.1", "port": 8080,
                "bound_port": 0, "reuseaddr": false, "reuseport": false, "v6only": false, "freebind": false,
                "transparent": false, "bind_address_no_port": false, "device": null, "via": "syscall",
            },
            "phase": "bind", "result": "EADDRINUSE", "repeated": 3, "rule": "unknown", "holders": [],
            "decided_by": null, "confidence": "best_evidence", "truncated": false, "remedy": null,
        })
    );
}

#[test]
fn successes_are_bind_and_listen_events() {
    let mut bound = call(Phase::Bind, 0, 10, 7, facts(5, 40_000));
    bound.requested = Some(loopback(0));
    let bind = value(&Record::new(bound.at, RecordBody::success(&bound, &process(), &Numbers), &Numbers));
    assert_eq!(
        (&bind["type"], &bind["result"], &bind["repeated"]),
        (&json!("bind"), &json!("success"), &json!(1))
    );
    assert_eq!((&bind["contender"]["port"], &bind["contender"]["bound_port"]), (&json!(0), &json!(40_000)));
    let listening = call(Phase::Listen, 0, 10, 8, facts(5, 40_000));
    let listen =
        value(&Record::new(listening.at, RecordBody::success(&listening, &process(), &Numbers), &Numbers));
    assert_eq!((&listen["type"], &listen["contender"]["port"]), (&json!("listen"), &json!(40_000)));
}

/// A host with one member of one group, and what the model made of it.
fn host() -> (Inventory, Groups, RecordBody) {
    let (mut inventory, mut groups) = (Inventory::new(Limits::default()), Groups::new());
    let (mut changes, mut events) = (Vec::new(), Vec::new());
    let facts = SocketFacts { queue: 2, queue_limit: 9, ..udp_member(5, 53) };
    let event = Event::Call(Box::new(call(Phase::Bind, 0, 10, 7, facts)));
    struct One;
    impl Processes for One {
        fn process(&mut self, _: u32, _: crate::event::Comm, _: u32) -> std::sync::Arc<Process> {
            process().into()
        }
    }
    inventory.apply(&event, &mut One, &mut changes);
    groups.apply(&changes[0], Moment(7), &mut events);
    let joined = RecordBody::group(&events[0], &Numbers);
    (inventory, groups, joined)
}

#[test]
fn a_socket_shows_paths_and_command_lines_on_the_local_socket_alone() {
    let (inventory, ..) = host();
    let socket = inventory.get(Inode(5)).expect("bound");
    let report = |view| to_value(SocketReport::new(socket, &Numbers, view)).expect("serialises");
    let owner = json!({
        "pid": 10, "comm": "srv", "executable": "srv", "uid": 0, "user": "root", "service": "srv", "unit": null,
        "container": null, "pod": null, "fds": [3],
    });
    let shown = json!({
        "address": "127.0.0.1", "port": 53, "family": "ipv4", "protocol": "udp", "state": "bound",
        "reuseaddr": false, "reuseport": true, "v6only": false, "device": null, "socket_uid": 0, "user": "root",
        "inode": 5, "cookie": 0, "netns": 4_026_531_840_u32, "netns_name": "host", "since": "t7",
        "expires_in_seconds": null, "kernel": false, "owners": [owner], "queue": 2, "queue_limit": 9,
    });
    assert_eq!(report(View::Network), shown);
    let local = report(View::Local);
    assert_eq!(local["owners"][0]["exe"], "/opt/s\\xffrv");
    assert_eq!(local["owners"][0]["cmdline"], json!(["/bin/srv", "-k\\x0a"]));
    let close = value(&Record::new(Moment(9), RecordBody::close(socket, &Numbers), &Numbers));
    assert_eq!((&close["type"], &close["port"]), (&json!("close"), &json!(53)));
    assert!(close["owners"][0].get("cmdline").is_none(), "events carry no command line");
}

#[test]
fn a_group_shows_its_key_and_members() {
    let (_, groups, joined) = host();
    let group = groups.iter().next().expect("one group");
    let report = to_value(GroupReport::new(group, true, &Numbers, View::Network)).expect("serialises");
    for (field, expected) in [
        ("protocol", json!("udp")),
        ("address", json!("127.0.0.1")),
        ("port", json!(53)),
        ("device", json!(null)),
        ("v6only", json!(false)),
        ("uid", json!(0)),
        ("netns", json!(4_026_531_840_u32)),
        ("selector", json!(null)),
        ("expected_share", json!(null)),
        ("has_connected", json!(null)),
        ("migrates", json!(null)),
        ("flows", json!(null)),
        ("p_value", json!(null)),
        ("verdict", json!(null)),
    ] {
        assert_eq!(report[field], expected, "{field}");
    }
    let member = &report["members"][0];
    for (field, expected) in [
        ("member", json!(0)),
        ("cookie", json!(0)),
        ("inode", json!(5)),
        ("selections", json!(0)),
        ("deliveries", json!(0)),
        ("accepted", json!(null)),
        ("stalled", json!(false)),
        ("index", json!(0)),
        ("window", json!({ "selections": 0, "flows": null, "drops": 0 })),
        ("drops", json!(0)),
        ("queue", json!(2)),
        ("queue_limit", json!(9)),
    ] {
        assert_eq!(member[field], expected, "{field}");
    }
    let uncounted = GroupReport::new(group, false, &Numbers, View::Network);
    assert_eq!(uncounted.members[0].selections, None);
    let event = value(&Record::new(Moment(7), joined, &Numbers));
    assert_eq!(
        (&event["type"], &event["change"], &event["member"], &event["members"]),
        (&json!("group"), &json!("join"), &json!(0), &json!(1))
    );
}

#[test]
fn the_test_group_shows_all_three_answers() {
    let group = TestGroup { transport: Transport::Tcp, family: Family::Ipv6 };
    let probe = Probe {
        group,
        at: Moment(7),
        source_port: 40_000,
        members: 4,
        hash: Some(u32::MAX),
        delivered: Some(1),
        accepted: Some(2),
        took: None,
    };
    let mut groups = TestGroups::default();
    groups.record(&probe);
    let event = value(&Record::new(probe.at, RecordBody::test_group(&probe), &Numbers));
    assert_eq!(
        event,
        json!({
            "schema": 1, "type": "test_group", "time": "t7", "boottime_ns": 7, "protocol": "tcp", "family": "ipv6",
            "result": "mismatch", "source_port": 40_000, "members": 4, "hash": u32::MAX, "predicted": 3,
            "delivered": 1, "accepted": 2,
        })
    );
    let reports = to_value(TestGroupReport::all(&groups, &Numbers)).expect("serialises");
    assert_eq!((&reports[0]["mismatch"], &reports[0]["mismatches"][0]["accepted"]), (&json!(1), &json!(2)));
    assert_eq!(reports[0]["members"][3]["predicted"], 1);
    assert_eq!(reports[0]["p_value"], json!(null));
}

#[test]
fn a_state_is_one_word() {
    let words =
        [State::Bound, State::Listen, State::Connected, State::Closing, State::TimeWait].map(State::as_str);
    assert_eq!(words, ["bound", "listen", "connected", "closing", "time_wait"]);
}
