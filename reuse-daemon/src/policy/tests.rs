use proptest::prelude::*;
use reuse_model::{
    endpoint::Transport,
    signal::{Criteria, Kind, Severity},
};

use super::*;
use crate::owner::scratch::Directory;

fn parsed(text: &str) -> Result<Policy, Wrong> {
    parse(text, &|name| (name == "www-data").then_some(33))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().copied().map(str::to_owned).collect()
}

#[test]
fn every_key_has_its_meaning() {
    let text = r#"
events = "json"
[web]
listen-address = "127.0.0.1:1"

[[policy.expect]]
why = "blue and green take turns"
signal = ["takeover_after_close", "generation_overlap"]
protocol = "tcp"
address = ["0.0.0.0", "::"]
port = [80, "5000-5100", 0x1F90]
netns = "host"
services = ["blue.service", "green.service"]
executables = "nginx"
uids = ["www-data", 1000]

[[policy.expect]]
port = 5353
protocol = "udp"

[[policy.severity]]
signal = "foreign_program_join"
severity = "critical"
"#;
    let blue_and_green = Criteria {
        signals: vec![Kind::TakeoverAfterClose, Kind::GenerationOverlap],
        protocols: vec![Transport::Tcp],
        addresses: vec![[0, 0, 0, 0].into(), [0_u16; 8].into()],
        ports: vec![80..=80, 5000..=5100, 8080..=8080],
        netns: words(&["host"]),
        services: words(&["blue.service", "green.service"]),
        executables: words(&["nginx"]),
        uids: vec![33, 1000],
    };
    let mdns = Criteria { protocols: vec![Transport::Udp], ports: vec![5353..=5353], ..Criteria::default() };
    let joins = Criteria { signals: vec![Kind::ForeignProgramJoin], ..Criteria::default() };
    let policy = parsed(text).expect("a policy");
    assert_eq!(policy.expected, [blue_and_green, mdns]);
    assert_eq!(policy.severities, [(joins, Severity::Critical)]);
}

#[test]
fn a_file_without_a_policy_has_an_empty_one() {
    for text in ["", "events = \"json\"\n", "[policy]\n", "policy.expect = []\n"] {
        assert_eq!(parsed(text), Ok(Policy::default()), "{text}");
    }
}

/// Below `[[policy.expect]]`, in the third line: what is refused, and in which words.
#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (line, reason) in [
        ("sigal = \"listen_squat\"", "there is no `sigal` here; there are signal, protocol"),
        (
            "signal = \"squat\"",
            "there is no signal `squat`; the signals are test_group_intruder, listen_squat",
        ),
        ("signal = 7", "write a text in quotes, not integer"),
        ("signal = []", "the list is empty"),
        ("services = []", "the list is empty"),
        ("services = [\"a\", \"\"]", "a name is missing"),
        ("protocol = \"sctp\"", "write \"tcp\""),
        ("address = \"0.0.0.0:80\"", "write an IPv4 or IPv6 address without a port"),
        ("port = 0", "write a port from 1 to 65535"),
        ("port = 65536", "write a port from 1 to 65535"),
        ("port = -1", "write a port from 1 to 65535"),
        ("port = 8.5", "write a port from 1 to 65535"),
        ("port = \"http\"", "write a port from 1 to 65535"),
        ("port = \"0-80\"", "write a port from 1 to 65535"),
        ("port = [80, \"5100-5000\"]", "the range ends before it begins: write \"5000-5100\""),
        ("uids = \"wwwdata\"", "there is no user `wwwdata` in /etc/passwd: write the uid"),
        ("uids = 4294967295", "write a uid from 0 to 4294967294"),
        ("uids = true", "write a uid from 0 to 4294967294"),
        ("why = 1", "write a text in quotes"),
        ("severity = \"grave\"", "`grave` is no severity"),
        ("severity = \"info\"\nport = 1", "what is expected has no severity"),
        ("port = 80\nport = 81", "duplicate key"),
        ("port = ", ""),
    ] {
        let wrong = parsed(&format!("# a policy\n[[policy.expect]]\n{line}\n")).expect_err(line);
        let at = if reason == "duplicate key" { 4 } else { 3 };
        assert_eq!(wrong.line, Some(at), "{line}: {wrong:?}");
        assert!(wrong.reason.starts_with(reason), "{line}: {wrong:?}");
    }
}

#[test]
fn what_fits_everything_is_refused() {
    for body in ["", "why = \"quiet\"", "port = \"1-65535\"", "protocol = [\"udp\", \"tcp\"]"] {
        let wrong = parsed(&format!("\n[[policy.expect]]\n{body}\n")).expect_err(body);
        assert_eq!((wrong.line, &wrong.reason[..28]), (Some(2), "this would fit every signal:"), "{body}");
        let wrong = parsed(&format!("\n[[policy.severity]]\nseverity = \"info\"\n{body}\n")).expect_err(body);
        assert_eq!((wrong.line, &wrong.reason[..28]), (Some(2), "this would fit every signal:"), "{body}");
    }
}

#[test]
fn the_tables_around_are_checked() {
    for (text, line, reason) in [
        ("policy = 1\n", 1, "`policy` is no table"),
        ("\npolicy.expects = []\n", 2, "there is no `policy.expects`: write [[policy.expect]]"),
        ("\n[policy.expect]\nport = 80\n", 2, "`policy.expect` is a list of tables: write [[policy.expect]]"),
        ("policy.expect = [80]\n", 1, "write a table of criteria"),
        ("\n\n[[policy.severity]]\nport = 80\n", 3, "the severity is missing"),
    ] {
        let wrong = parsed(text).expect_err(text);
        assert_eq!(wrong.line, Some(line), "{text}: {wrong:?}");
        assert!(wrong.reason.starts_with(reason), "{text}: {wrong:?}");
    }
}

#[test]
fn the_file_is_named() {
    let directory = Directory::new();
    let path = directory.write("reuse.toml", "\n[[policy.expect]]\nport = 0\n");
    let error = read(&path).expect_err("port 0").to_string();
    assert!(error.starts_with(&format!("{}:3: write a port", path.display())), "{error}");
    let gone = directory.write("reuse.toml", "").with_file_name("gone.toml");
    let error = read(&gone).expect_err("no file").to_string();
    assert!(error.starts_with(&format!("{}: No such file", gone.display())), "{error}");
    let path = directory.write("reuse.toml", "[[policy.expect]]\nuids = \"root\"\n");
    assert_eq!(read(&path).expect("root has a name").expected[0].uids, [0]);
}

proptest! {
    #[test]
    fn any_text_is_a_policy_or_has_a_line_where_it_is_none(
        text in r#"(\[\[policy\.(expect|severity)\]\]\n|(signal|port|uids|services|severity|why|x) = ("[a-z0-9-]{0,6}"|[0-9]{1,6}|\[[0-9", ]{0,8}\]|\PC{0,6})\n|\PC{0,8}\n){0,6}"#,
    ) {
        if let Err(wrong) = parsed(&text) {
            let lines = text.lines().count().max(1);
            prop_assert!(wrong.line.is_some_and(|line| (1..=lines + 1).contains(&line)), "{:?}", wrong);
            prop_assert!(!wrong.reason.is_empty());
        }
    }
}
