//! What is spoken over the local socket.
//!
//! A client sends one [`Request`] as one line of JSON. It gets one JSON document and the end of the stream; or, where it
//! follows, a line that says that it does, then one event a line until it closes or shuts down its side. In place of
//! either it may get a [`Failure`]. The documents are those of the HTTP API, with paths and command lines.

use std::time::Duration;

use reuse_model::filter::Filter;
use serde::{Deserialize, Serialize};

/// Where the socket is unless told otherwise.
pub const DEFAULT_PATH: &str = "/run/reuse-daemon/api.sock";

/// Most bytes of a request, its newline included.
pub const REQUEST_LIMIT: usize = 4096;

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Every bound socket
    Sockets {
        /// Whether owners carry their command lines
        #[serde(default = "yes")]
        command_lines: bool,
    },
    /// Every SO_REUSEPORT group
    Groups {
        /// Whether owners carry their command lines
        #[serde(default = "yes")]
        command_lines: bool,
    },
    /// The daemon's own groups: what their probes say of this kernel
    TestGroup {},
    /// Adds members to groups of the daemon's own and removes some: which flows moved. Takes some seconds
    Experiment {},
    /// What the daemon sees and what it does not
    Status {},
    /// The latest refusals
    Conflicts(Latest),
    /// The active signals, and those that ended within the time asked for
    Signals(Latest),
}

/// Which of what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latest {
    /// Those of at most so many milliseconds ago; left out: all that are kept, or where `follow` is set none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// Then each as it happens
    #[serde(default)]
    pub follow: bool,
    /// Which of those that happen; the ones of before are all told where `follow` is not set
    #[serde(default, skip_serializing_if = "is_empty")]
    pub filter: Box<Filter>,
    /// Whether processes carry their command lines
    #[serde(default = "yes")]
    pub command_lines: bool,
}

impl Latest {
    /// What a command asks for. `command_lines`: whether anybody will read them.
    #[must_use]
    pub fn new(since: Option<Duration>, follow: bool, filter: Filter, command_lines: bool) -> Self {
        let within_ms = since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Self { within_ms, follow, filter: Box::new(filter), command_lines }
    }

    /// How old what is asked for may be.
    #[must_use]
    pub fn within(&self) -> Option<Duration> {
        self.within_ms.map(Duration::from_millis)
    }
}

fn is_empty(filter: &Filter) -> bool {
    filter.is_empty()
}

fn yes() -> bool {
    true
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Version of the JSON
    pub schema: u32,
    /// The reason, a sentence
    pub error: String,
}

/// The first line to one who follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Version of the JSON
    pub schema: u32,
    /// `following`
    pub r#type: String,
}

impl Begun {
    /// The word of its type.
    pub const TYPE: &'static str = "following";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_what_is_documented() {
        let everything =
            Latest { within_ms: None, follow: false, filter: Box::default(), command_lines: true };
        assert_eq!(parse(r#"{"ask":"conflicts"}"#), Ok(Request::Conflicts(everything.clone())));
        assert_eq!(parse(r#"{"ask":"signals"}"#), Ok(Request::Signals(everything)));
        let following = Request::Conflicts(Latest {
            within_ms: Some(600_000),
            follow: true,
            filter: Box::default(),
            command_lines: false,
        });
        let line = r#"{"ask":"conflicts","within_ms":600000,"follow":true,"command_lines":false}"#;
        assert_eq!(parse(line), Ok(following.clone()));
        assert_eq!(serde_json::to_string(&following).expect("JSON"), line);
        assert_eq!(parse(r#"{"ask":"sockets"}"#), Ok(Request::Sockets { command_lines: true }));
        assert_eq!(parse(r#"{"ask":"status"}"#), Ok(Request::Status {}));
        assert_eq!(parse(r#"{"ask":"test_group"}"#), Ok(Request::TestGroup {}));
        assert_eq!(parse(r#"{"ask":"experiment"}"#), Ok(Request::Experiment {}));
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "",
            "sockets",
            "{}",
            "[]",
            r#"{"ask":"shutdown"}"#,
            r#"{"ask":"status","please":true}"#,
            r#"{"ask":"sockets","port":80}"#,
            r#"{"ask":"conflicts","within_ms":-1}"#,
            r#"{"ask":"conflicts","follow":"yes"}"#,
            r#"{"ask":"signals","suggest":true}"#,
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
