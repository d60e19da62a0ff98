//! `explain`: would this bind (and listen) succeed now, and if not why.

use std::{
    collections::BTreeSet,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    net::{IpAddr, ToSocketAddrs as _},
    os::fd::AsFd as _,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::sys::utsname::uname;
use reuse_model::{
    endpoint::{Family, Transport},
    report::{Context as _, ExplainReport, Outcome, View},
    rulebook::{Features, Kernel, Release},
};

use crate::{
    cli::{Color, ExplainArguments},
    explain::{
        Explainer,
        answer::Answer,
        asker::Asker,
        netns::Netns,
        question::{Place, Question, Typed},
        raw::Dump,
        report::Frame,
        source::{SocketOptions, Source},
    },
    kernel::{
        btf::{Btf, Types},
        port_reader::PortReader,
        privileges, rules,
    },
    owner::{names::Names, shown::Shown},
    render,
};

/// One would be refused
const REFUSED: u8 = 1;
/// It cannot be told, or the question is none
const UNTOLD: u8 = 2;
/// Between two readings of a wait; one costs some ten microseconds
const POLL: Duration = Duration::from_millis(20);

/// Runs the command.
#[must_use]
pub fn main(arguments: &ExplainArguments, color: Color) -> ExitCode {
    match run(arguments, color) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("reuse-daemon: {error:#}");
            ExitCode::from(UNTOLD)
        }
    }
}

fn run(arguments: &ExplainArguments, color: Color) -> anyhow::Result<u8> {
    let questions = questions(arguments)?;
    let netns = match (&arguments.netns, arguments.as_process) {
        (Some(name), _) => Netns::named(name).map_err(|error| of_option("--netns", name, &error))?,
        (None, Some(pid)) => Netns::of_process(pid).map_err(|error| of_option("--as", pid, &error))?,
        (None, None) => Netns::own()?,
    };
    let asker = match (arguments.as_process, arguments.uid) {
        (Some(pid), _) => {
            Asker::of_process(pid, netns.as_fd()).map_err(|error| of_option("--as", pid, &error))?
        }
        (None, Some(uid)) => Asker::of_uid(uid),
        (None, None) => Asker::of_this_process(netns.as_fd())?,
    };
    let names = Names::of_this_host(View::Local);
    // Asked for while this thread is still where the names are given.
    names.netns_name(netns.number);
    // One thread does everything, and the process ends with it.
    if netns.number != Netns::own()?.number {
        netns.enter()?;
    }
    let (source, kernel) = source(arguments.btf_path.as_deref());
    let mut explainer = Explainer {
        source,
        kernel,
        asker,
        options: SocketOptions {
            reuseaddr: arguments.reuseaddr,
            reuseport: arguments.reuseport,
            v6only: arguments.v6only,
            device: arguments.device.clone(),
        },
        listen: arguments.listen,
    };
    let asked = arguments.question.join(" ");
    let names = Shown { names: &names, view: View::Local };
    let frame = Frame { asked: &asked, netns: netns.number, names: &names };
    let deadline = arguments.wait.then(|| Instant::now() + arguments.timeout);
    let answers = answers(&mut explainer, &questions, &frame, deadline)?;
    let text = if arguments.raw {
        raw(&answers, arguments.listen)
    } else {
        let report = frame.report(&mut explainer, &answers);
        shown(&report, arguments.json, color)
    };
    // A closed stdout leaves nobody to tell.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(status(&answers))
}

/// An error with the option that it comes from.
fn of_option(option: &str, value: impl Display, error: &impl Display) -> anyhow::Error {
    anyhow::anyhow!("{option} {value}: {error}")
}

fn questions(arguments: &ExplainArguments) -> anyhow::Result<Vec<Question>> {
    let typed = Typed::parse(&arguments.question)?;
    if arguments.listen && typed.transports == [Transport::Udp] {
        anyhow::bail!("--listen: a UDP socket receives once it is bound and never listens; leave it out");
    }
    let found = match &typed.place {
        Place::Host(host) => resolve(host, typed.port)?,
        Place::Wildcards | Place::Address { .. } => Vec::new(),
    };
    let questions = typed.questions(&found);
    if arguments.v6only && questions.iter().all(|question| question.family() == Family::Ipv4) {
        anyhow::bail!("--v6only: only IPv6 sockets have IPV6_V6ONLY, and the address is IPv4; leave it out");
    }
    Ok(questions)
}

/// The addresses of a host, each once, in the resolver's order.
fn resolve(host: &str, port: u16) -> anyhow::Result<Vec<IpAddr>> {
    let addresses = (host, port).to_socket_addrs().with_context(|| {
        format!(
            "cannot find the address of `{host}` (a statically linked build asks /etc/hosts and DNS alone); write the \
             address itself"
        )
    })?;
    let mut seen = BTreeSet::new();
    Ok(addresses.map(|address| address.ip()).filter(|address| seen.insert(*address)).collect())
}

/// The kernel's tables where that is allowed and works, else sock_diag, which is said; and how the kernel decides.
fn source(types: Option<&Path>) -> (Source, Kernel) {
    let held = privileges::effective().unwrap_or_default();
    let missing = |name: &str| privileges::missing(held).any(|needed| needed.name == name);
    if missing("CAP_BPF") || missing("CAP_PERFMON") {
        eprintln!(
            "reuse-daemon: without root the options of other sockets cannot be read; the answer is the best evidence \
             there is (sudo for an exact one)"
        );
        return (Source::SockDiag, kernel(types));
    }
    match PortReader::open(types) {
        Ok(reader) => {
            let rules = reader.rules;
            (Source::Tables(Box::new(reader)), rules)
        }
        Err(error) => {
            eprintln!("reuse-daemon: the options of other sockets cannot be read: {error}");
            (Source::SockDiag, kernel(types))
        }
    }
}

/// How the running kernel decides; without its types, as the newest of its release does.
fn kernel(types: Option<&Path>) -> Kernel {
    let types = Types::find(types).ok();
    let parsed = types.as_ref().and_then(|types| Btf::parse(&types.bytes).ok());
    parsed.map_or_else(
        || {
            let release = uname().ok().and_then(|name| Release::parse(name.release().to_str()?));
            let newest = Features { inet_bind2_bucket: true, bhash2: true, ..Features::default() };
            Kernel::new(release.unwrap_or(Release::NEWEST), newest)
        },
        |parsed| rules::of_running_kernel(&parsed),
    )
}

/// The answers now, or with a deadline the first that all succeed, else those at the deadline.
fn answers(
    explainer: &mut Explainer,
    questions: &[Question],
    frame: &Frame<'_>,
    deadline: Option<Instant>,
) -> anyhow::Result<Vec<Answer>> {
    let mut told = None;
    loop {
        let answers = questions
            .iter()
            .map(|question| explainer.answer(question).context("cannot read what the answer depends on"))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let waits = answers.iter().any(|answer| answer.outcome != Outcome::Success);
        if !waits || deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            return Ok(answers);
        }
        let in_the_way: Vec<_> = answers
            .iter()
            .map(|answer| answer.holders().map(|(socket, ..)| socket.inode).collect::<Vec<_>>())
            .collect();
        if told.as_ref() != Some(&in_the_way) {
            let mut text = String::new();
            render::explain::waiting(&frame.report(explainer, &answers), &mut text);
            eprint!("{text}");
            told = Some(in_the_way);
        }
        thread::sleep(POLL);
    }
}

fn raw(answers: &[Answer], listen: bool) -> String {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    // String keys and integers only: it cannot fail to serialise.
    serde_json::to_string_pretty(&Dump::new(release, answers, listen)).unwrap_or_default() + "\n"
}

fn shown(report: &ExplainReport, json: bool, color: Color) -> String {
    if json {
        // String keys and finite numbers only.
        return serde_json::to_string(report).unwrap_or_default() + "\n";
    }
    let no_color = std::env::var_os("NO_COLOR");
    let colored = color.applies(io::stdout().is_terminal(), no_color.as_deref());
    let mut text = String::new();
    render::explain::text(report, colored, &mut text);
    text
}

fn status(answers: &[Answer]) -> u8 {
    let any = |outcome| answers.iter().any(|answer| answer.outcome == outcome);
    if any(Outcome::Refused) {
        REFUSED
    } else if any(Outcome::Unknown) {
        UNTOLD
    } else {
        0
    }
}
