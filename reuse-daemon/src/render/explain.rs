//! The answers of `explain` for people: first the answer, then who is in the way, then what to do.

use std::{fmt::Write, net::SocketAddr};

use reuse_model::{
    refusal::Confidence,
    report::{AnswerReport, ExplainReport, HolderReport, Outcome},
};

use super::{
    holder::{self, words},
    plain::plain,
};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";
/// Most holders of one answer that are listed; the rest is counted
const HOLDERS: usize = 12;

/// Appends the answers as text. Of several, those that would succeed take one line each.
pub fn text(report: &ExplainReport, colored: bool, out: &mut String) {
    let several = report.answers.len() > 1;
    let mut before: Option<&AnswerReport> = None;
    for answer in &report.answers {
        headline(answer, colored, out);
        if before.replace(answer).is_some_and(|before| is_same_reason(before, answer)) {
            out.push_str("  for the same reason\n");
        } else if !several || !answer.holders.is_empty() || answer.outcome != Outcome::Success {
            details(answer, out);
        }
    }
}

/// Whether two answers differ in nothing but the question: sockets of both families are in the way of both questions.
fn is_same_reason(one: &AnswerReport, other: &AnswerReport) -> bool {
    let sockets = |answer: &AnswerReport| -> Vec<_> {
        answer.holders.iter().map(|holder| (identity(holder), holder.rule)).collect()
    };
    one.outcome == Outcome::Refused
        && (one.outcome, one.phase, one.errno, one.rule, &one.remedy)
            == (other.outcome, other.phase, other.errno, other.rule, &other.remedy)
        && sockets(one) == sockets(other)
}

/// What a wait is for: one line for each answer that is not a success yet.
pub fn waiting(report: &ExplainReport, out: &mut String) {
    for answer in report.answers.iter().filter(|answer| answer.outcome != Outcome::Success) {
        let first = answer.holders.first().map(holder::line);
        let why = first.or_else(|| answer.rule.map(|rule| words(rule).to_owned())).unwrap_or_default();
        let more = answer.holders.len().saturating_sub(1);
        let others = if more > 0 { format!(" and {more} more") } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "waiting for {}: {}{others}", plain(&place(answer)), plain(&why));
    }
}

/// `tcp 0.0.0.0:8080: refused (EADDRINUSE at bind)`
fn headline(answer: &AnswerReport, colored: bool, out: &mut String) {
    let call = answer.phase.as_str();
    let (color, what) = match (answer.outcome, answer.errno) {
        (Outcome::Refused, errno) => (RED, format!("refused ({} at {call})", errno.unwrap_or("EUNKNOWN"))),
        (Outcome::Success, _) if answer.question.listen => {
            (GREEN, "would succeed, bind and listen".to_owned())
        }
        (Outcome::Success, _) => (GREEN, "would succeed".to_owned()),
        (Outcome::Unknown, _) => (YELLOW, "cannot tell".to_owned()),
    };
    let (before, after) = if colored { (color, RESET) } else { ("", "") };
    // Writing to a String cannot fail.
    let _ = write!(out, "{}: {before}{what}{after}", plain(&place(answer)));
    if answer.confidence == Confidence::BestEvidence {
        out.push_str(if answer.truncated { " (not every socket was read)" } else { " (best evidence)" });
    }
    out.push('\n');
}

/// `tcp [::]:8080 on eth0, netns blue`
fn place(answer: &AnswerReport) -> String {
    let question = &answer.question;
    let mut text =
        format!("{} {}", question.protocol.as_str(), SocketAddr::new(question.address, question.port));
    if let Some(device) = &question.device {
        let _ = write!(text, " on {device}");
    }
    if &*question.netns_name != "host" {
        let _ = write!(text, " in netns {}", question.netns_name);
    }
    text
}

fn details(answer: &AnswerReport, out: &mut String) {
    if let Some(why) = exemption(answer) {
        let _ = writeln!(out, "  {why}");
    }
    for holder in answer.holders.iter().take(HOLDERS) {
        let decides = answer.holders.len() > 1 && answer.decided_by.is_some_and(|by| by == identity(holder));
        let _ =
            writeln!(out, "  {}{}", plain(&holder::line(holder)), if decides { " (decides)" } else { "" });
    }
    if answer.holders.len() > HOLDERS {
        let _ = writeln!(out, "  and {} more", answer.holders.len() - HOLDERS);
    }
    if answer.holders.is_empty()
        && let Some(rule) = answer.rule
    {
        let _ = writeln!(out, "  {}", words(rule));
    }
    if let Some(remedy) = &answer.remedy {
        let _ = writeln!(out, "  remedy: {}", plain(remedy));
    }
    if let Some(other) = answer.with_reuseaddr.filter(|other| other.outcome != answer.outcome) {
        let _ = writeln!(out, "  with SO_REUSEADDR, which most servers set: {}", ending(other.outcome));
    }
}

fn ending(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "would succeed",
        Outcome::Refused => "would be refused",
        Outcome::Unknown => "cannot tell",
    }
}

fn exemption(answer: &AnswerReport) -> Option<&'static str> {
    if answer.allowed_by_bucket_cache {
        Some(
            "only because of what the kernel remembers of the port's earlier binds; asked alone, these sockets would \
             refuse:",
        )
    } else if answer.allowed_by_scan_order {
        Some(
            "only because a socket that allows it stands first in the kernel's list; these behind it would refuse:",
        )
    } else {
        None
    }
}

fn identity(holder: &HolderReport) -> u64 {
    if holder.inode == 0 { holder.cookie } else { holder.inode }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, sync::Arc};

    use reuse_model::{
        endpoint::{Family, Protocol, Transport},
        event::Phase,
        refusal::Rule,
        report::{Alternative, OwnerReport, QuestionReport},
    };

    use super::*;

    fn answer(outcome: Outcome, holders: Vec<HolderReport>) -> AnswerReport {
        let refused = outcome == Outcome::Refused;
        AnswerReport {
            question: QuestionReport {
                asked: "tcp 127.0.0.1:8080".to_owned(),
                protocol: Transport::Tcp,
                family: Family::Ipv4,
                address: [127, 0, 0, 1].into(),
                port: 8080,
                reuseaddr: false,
                reuseport: false,
                v6only: false,
                device: None,
                uid: 0,
                may_bind_privileged: true,
                listen: false,
                netns: 1,
                netns_name: Arc::from("host"),
            },
            outcome,
            phase: Phase::Bind,
            errno: refused.then_some("EADDRINUSE"),
            rule: refused.then_some(Rule::Exclusive),
            confidence: Confidence::Exact,
            allowed_by_bucket_cache: false,
            allowed_by_scan_order: false,
            holders,
            decided_by: None,
            truncated: false,
            remedy: refused.then(|| "Stop it.".to_owned()),
            with_reuseaddr: None,
        }
    }

    fn holder(state: &'static str, owners: Vec<OwnerReport>) -> HolderReport {
        HolderReport {
            address: [127, 0, 0, 1].into(),
            port: 8080,
            family: Family::Ipv4,
            protocol: Protocol::Tcp,
            state: Cow::Borrowed(state),
            reuseaddr: Some(true),
            reuseport: Some(false),
            v6only: Some(false),
            device: None,
            socket_uid: Some(33),
            user: Some(Arc::from("www-data")),
            inode: 7,
            cookie: 0,
            netns: 1,
            netns_name: Arc::from("host"),
            since: None,
            expires_in_seconds: None,
            kernel: false,
            rule: Some(Rule::ContenderLacksReuseaddr),
            overlap: Some(Cow::Borrowed("same_address")),
            owners,
            former_owners: Vec::new(),
        }
    }

    fn owner(pid: u32, executable: &str, service: &str) -> OwnerReport {
        OwnerReport {
            pid,
            comm: executable.to_owned(),
            executable: Arc::from(executable),
            exe: None,
            cmdline: None,
            uid: 33,
            user: None,
            service: Arc::from(service),
            unit: None,
            container: None,
            pod: None,
            fds: vec![3],
        }
    }

    fn shown(answers: Vec<AnswerReport>, colored: bool) -> String {
        let mut out = String::new();
        text(&ExplainReport { schema: 1, answers }, colored, &mut out);
        out
    }

    #[test]
    fn the_answer_comes_first_then_the_holder_then_the_remedy() {
        let held = holder("bound", vec![owner(12, "nginx", "web.service")]);
        assert_eq!(
            shown(vec![answer(Outcome::Refused, vec![held])], false),
            "tcp 127.0.0.1:8080: refused (EADDRINUSE at bind)\n  \
             127.0.0.1:8080 bound, web.service: nginx[12] (www-data), SO_REUSEADDR, no SO_REUSEPORT: it would share by \
             SO_REUSEADDR, which the new socket does not set [contender_lacks_reuseaddr]\n  \
             remedy: Stop it.\n"
        );
    }

    #[test]
    fn of_several_answers_a_plain_success_takes_one_line() {
        let mut reusing = answer(Outcome::Refused, Vec::new());
        reusing.with_reuseaddr = Some(Alternative { outcome: Outcome::Success, rule: None });
        let text = shown(vec![answer(Outcome::Success, Vec::new()), reusing], true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "tcp 127.0.0.1:8080: \x1b[32mwould succeed\x1b[0m");
        assert_eq!(lines[1], "tcp 127.0.0.1:8080: \x1b[31mrefused (EADDRINUSE at bind)\x1b[0m");
        assert_eq!(lines[4], "  with SO_REUSEADDR, which most servers set: would succeed", "{text}");
        assert_eq!(lines.len(), 5, "{text}");
    }

    #[test]
    fn holders_without_a_process_say_what_they_are() {
        let waiting = HolderReport {
            inode: 0,
            socket_uid: None,
            user: None,
            expires_in_seconds: Some(41.6),
            ..holder("time_wait", Vec::new())
        };
        let unseen = holder("listen", Vec::new());
        let queued = HolderReport { inode: 0, ..holder("connected", Vec::new()) };
        let kernel = HolderReport { kernel: true, ..holder("bound", Vec::new()) };
        let text = shown(vec![answer(Outcome::Refused, vec![waiting, unseen, queued, kernel])], false);
        for part in [
            "TIME_WAIT for 42 s more, no process, SO_REUSEADDR",
            "listening, a process that is not known (www-data)",
            "connected, not accepted yet,",
            "bound, the kernel's own (www-data)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn many_holders_and_owners_are_counted() {
        let owners = (1..=6).map(|pid| owner(pid, "worker", "worker")).collect();
        let holders = vec![holder("listen", owners); 15];
        let text = shown(vec![answer(Outcome::Refused, holders)], false);
        assert!(
            text.contains("worker[4] and 2 more (www-data)") && text.contains("  and 3 more\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let unread =
            HolderReport { reuseaddr: None, reuseport: None, rule: None, ..holder("bound", Vec::new()) };
        let unknown =
            AnswerReport { confidence: Confidence::BestEvidence, ..answer(Outcome::Unknown, vec![unread]) };
        let text = shown(vec![unknown], false);
        assert!(text.starts_with("tcp 127.0.0.1:8080: cannot tell (best evidence)\n"), "{text}");
        assert!(!text.contains("SO_REUSE"), "{text}");
    }

    #[test]
    fn a_hostile_name_stays_in_its_place() {
        let hostile = owner(1, "a\u{202e}b\u{1b}[2J", "x\ny");
        let text = shown(vec![answer(Outcome::Refused, vec![holder("bound", vec![hostile])])], false);
        assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text:?}");
    }

    #[test]
    fn a_wait_names_what_it_waits_for() {
        let mut out = String::new();
        let held = holder("listen", vec![owner(12, "nginx", "nginx")]);
        let answers =
            vec![answer(Outcome::Success, Vec::new()), answer(Outcome::Refused, vec![held.clone(), held])];
        waiting(&ExplainReport { schema: 1, answers }, &mut out);
        assert!(
            out.starts_with("waiting for tcp 127.0.0.1:8080: 127.0.0.1:8080 listening, nginx[12]"),
            "{out}"
        );
        assert!(out.ends_with(" and 1 more\n") && out.lines().count() == 1, "{out}");
    }
}
