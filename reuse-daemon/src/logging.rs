//! The log on stderr, as text or as JSON lines.

use std::io::Write as _;

use env_logger::{Builder, Target};
use serde::Serialize;

use crate::{cli::run::LogFormat, clock::Clock, config};

/// One line of the JSON log.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    message: String,
}

/// Starts logging.
pub fn start(log: config::Log) {
    let mut builder = Builder::new();
    builder.filter_level(log.level.into()).target(Target::Stderr);
    if log.format == LogFormat::Json {
        let clock = Clock::read();
        builder.format(move |out, record| {
            let line = Line {
                time: clock.rfc3339(Clock::now()),
                level: record.level().as_str(),
                target: record.target(),
                message: record.args().to_string(),
            };
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        });
    }
    // A second logger would be a bug of this program's start, and the first goes on.
    let _ = builder.try_init();
}
