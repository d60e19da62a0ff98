//! The path the metrics are served on.

use std::{fmt, str::FromStr};

/// A path no other route has, as it stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPath(String);

/// Why a path cannot serve the metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryPathError {
    /// It would need decoding, or the router would read it as a pattern
    #[error("{0:?} is not a plain path; write / and then letters, digits and . _ - / only, such as /metrics")]
    Malformed(String),
    /// Another route has it
    #[error("{0:?} is served already; / , /-/ and /api/ belong to the daemon, choose such as /metrics")]
    Taken(String),
}

impl TelemetryPath {
    /// The path, from its first slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TelemetryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TelemetryPath {
    type Err = TelemetryPathError;

    fn from_str(text: &str) -> Result<Self, TelemetryPathError> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-'));
        let dots = text.split('/').any(|segment| matches!(segment, "." | ".."));
        if !plain || dots || !text.starts_with('/') || text.contains("//") {
            return Err(TelemetryPathError::Malformed(text.to_owned()));
        }
        let root = text.split('/').nth(1).unwrap_or_default();
        if matches!(root, "" | "-" | "api") {
            return Err(TelemetryPathError::Taken(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_taken_as_they_are() {
        for text in ["/metrics", "/probe/metrics", "/m.e-t_r1cs/"] {
            assert_eq!(text.parse::<TelemetryPath>().map(|path| path.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn patterns_and_what_needs_decoding_are_refused() {
        for text in
            ["", "metrics", "/{path}", "/*", "/a b", "/a?b", "/a#b", "/ü", "/a%41", "//a", "/../a", "/a/."]
        {
            let error = text.parse::<TelemetryPath>();
            assert_eq!(error, Err(TelemetryPathError::Malformed(text.to_owned())));
        }
    }

    #[test]
    fn routes_of_the_daemon_are_refused() {
        for text in ["/", "/-/ready", "/-/healthy", "/-/metrics", "/api", "/api/v1/sockets"] {
            assert_eq!(text.parse::<TelemetryPath>(), Err(TelemetryPathError::Taken(text.to_owned())));
        }
    }
}
