//! `check`: every claim about socket options, tried live on the running kernel.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use nix::sys::utsname::uname;
use reuse_model::{
    claim::{CheckReport, Claim},
    rulebook::{Features, Kernel, Release},
};

use crate::{
    claims::{self, Expectation, Extent, Private, Tried},
    cli::{CheckArguments, Color},
    kernel::{
        btf::{Btf, Types},
        rules,
    },
    render::{self, bars::Glyphs, check::Style},
};

/// The kernel does not behave as documented
const OTHERWISE: u8 = 1;
/// A claim asked for could not be tried
const UNTRIED: u8 = 2;

/// Runs the command.
#[must_use]
pub fn main(arguments: &CheckArguments, color: Color) -> ExitCode {
    match run(arguments, color) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("reuse-daemon: {error:#}");
            ExitCode::from(UNTRIED)
        }
    }
}

fn run(arguments: &CheckArguments, color: Color) -> anyhow::Result<u8> {
    // What is read of the host is read before the namespace.
    let expectation = expectation();
    let namespace = Private::enter()?;
    if arguments.supervised && !begin(&namespace)? {
        return Ok(UNTRIED);
    }
    let claims = if arguments.claims.is_empty() { Claim::ALL.to_vec() } else { arguments.claims.clone() };
    let Tried { mut report, deviations, untried } =
        claims::try_all(&namespace, &claims, Extent { slow: arguments.slow }, &expectation);
    if arguments.compare {
        report.comparison = Some(claims::compare(&namespace).context("cannot compare")?);
    }
    let text = shown(&report, arguments.json, color);
    // A closed stdout leaves nobody to tell.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(match (untried, deviations) {
        (1.., _) => UNTRIED,
        (0, 1..) => OTHERWISE,
        (0, 0) => 0,
    })
}

/// Tells where everything will happen and waits for the word; whether it came.
fn begin(namespace: &Private) -> io::Result<bool> {
    let mut out = io::stdout();
    writeln!(out, "{}", namespace.number.0)?;
    out.flush()?;
    Ok(io::stdin().lock().read_line(&mut String::new())? > 0)
}

/// The running kernel, and how it is known to decide; without its types, as the newest of its release does.
fn expectation() -> Expectation {
    let name = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let release = rules::release_of_running_kernel();
    let types = Types::find(None).ok();
    let parsed = types.as_ref().and_then(|types| Btf::parse(&types.bytes).ok());
    let rules = parsed.map_or_else(
        || {
            let newest = Features { inet_bind2_bucket: true, bhash2: true, ..Features::default() };
            Kernel::new(release.unwrap_or(Release::NEWEST), newest)
        },
        |parsed| rules::of_running_kernel(&parsed),
    );
    Expectation { name, release, rules }
}

fn shown(report: &CheckReport, json: bool, color: Color) -> String {
    if json {
        // String keys and finite numbers only.
        return serde_json::to_string(report).unwrap_or_default() + "\n";
    }
    let no_color = std::env::var_os("NO_COLOR");
    let colored = color.applies(io::stdout().is_terminal(), no_color.as_deref());
    let style = Style { colored, glyphs: Glyphs::of_locale(|name| std::env::var(name).ok()) };
    let mut text = String::new();
    render::check::text(report, style, &mut text);
    text
}
