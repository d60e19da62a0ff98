//! What is spoken over the local socket.
//!
//! A client sends one [`Request`] as one line of JSON. It gets one JSON document and the end of the stream; or, where it
//! follows, a line that says that it does, then one event a line until it closes or shuts down its side. In place of
//! either it may get a [`Failure`]. The documents are those of the HTTP API, with paths and command lines.

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
    Conflicts {
        /// Those of at most so many milliseconds ago; left out: all that are kept, or where `follow` is set none
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within_ms: Option<u64>,
        /// Then each as it happens
        #[serde(default)]
        follow: bool,
        /// Which of those that happen; the ones of before are all told
        #[serde(default, skip_serializing_if = "is_empty")]
        filter: Box<Filter>,
        /// Whether contenders and owners carry their command lines
        #[serde(default = "yes")]
        command_lines: bool,
    },
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
        let everything = Request::Conflicts {
            within_ms: None,
            follow: false,
            filter: Box::default(),
            command_lines: true,
        };
        assert_eq!(parse(r#"{"ask":"conflicts"}"#), Ok(everything));
        let following = Request::Conflicts {
            within_ms: Some(600_000),
            follow: true,
            filter: Box::default(),
            command_lines: false,
        };
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
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
