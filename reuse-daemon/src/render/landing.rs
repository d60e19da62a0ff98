//! The landing page: what this is, whether it is ready, where everything else is.

use std::fmt::Write;

use reuse_model::signal::Severity;

use crate::config::TelemetryPath;

/// What the page says.
#[derive(Clone, Copy, Debug)]
pub struct Landing<'a> {
    /// Where the metrics are
    pub telemetry_path: &'a TelemetryPath,
    /// What the daemon still waits for; empty: it is ready
    pub waiting_for: &'a [String],
    /// How many signals of each severity are active
    pub signals: [(Severity, usize); 3],
    /// What the test group says of this kernel, once it says anything
    pub kernel: Option<&'a str>,
}

impl Landing<'_> {
    /// The page as HTML 5, without anything that has to be fetched.
    #[must_use]
    pub fn html(&self) -> String {
        let state = if self.waiting_for.is_empty() {
            "ready".to_owned()
        } else {
            format!("not ready: waiting for {}", escape(&self.waiting_for.join(", ")))
        };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>reuse-daemon</title>\n\
             <style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; \
             padding: 0 1rem }}</style>\n</head>\n<body>\n<main>\n<h1>reuse-daemon</h1>\n\
             <p>Who holds a port and why, and how the kernel spreads SO_REUSEPORT traffic.</p>\n\
             <p>Version {}, {state}.</p>\n",
            env!("CARGO_PKG_VERSION")
        );
        if let Some(kernel) = self.kernel {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "<p>{}</p>", escape(kernel));
        }
        let counts =
            self.signals.map(|(severity, count)| format!("{count} {}", severity.as_str())).join(", ");
        let _ = writeln!(page, "<p>Active signals: {counts}.</p>");
        page.push_str("<ul>\n");
        let links = [
            (self.telemetry_path.as_str(), "metrics for Prometheus"),
            ("/api/v1/sockets", "every bound socket and who has it open"),
            ("/api/v1/conflicts", "the latest refused binds and why"),
            ("/api/v1/signals", "who shares, shadows or takes a port without any error"),
            ("/api/v1/groups", "every SO_REUSEPORT group and its members"),
            ("/api/v1/test-group", "the daemon's own test group"),
            ("/api/v1/status", "what the daemon sees and what it does not"),
            ("/-/healthy", "whether it runs"),
            ("/-/ready", "whether it sees everything it planned to"),
        ];
        for (path, what) in links {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "<li><a href=\"{path}\">{path}</a>: {what}</li>");
        }
        page.push_str("</ul>\n</main>\n</body>\n</html>\n");
        page
    }
}

/// Text as it may stand in an element.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page<'a>(
        telemetry_path: &'a TelemetryPath,
        waiting_for: &'a [String],
        kernel: Option<&'a str>,
    ) -> String {
        let signals = [(Severity::Critical, 2), (Severity::Warning, 0), (Severity::Info, 13)];
        Landing { telemetry_path, waiting_for, signals, kernel }.html()
    }

    #[test]
    fn links_what_there_is_and_says_how_it_is() {
        let telemetry_path = "/custom".parse().expect("a plain path");
        let ready = page(&telemetry_path, &[], None);
        assert!(ready.contains("<p>Active signals: 2 critical, 0 warning, 13 info.</p>"), "{ready}");
        assert!(ready.contains("<a href=\"/custom\">/custom</a>") && ready.contains(", ready."), "{ready}");
        let waiting_for = ["the <snapshot>".to_owned(), "programs".to_owned()];
        let waiting = page(&telemetry_path, &waiting_for, None);
        assert!(waiting.contains("not ready: waiting for the &lt;snapshot&gt;, programs."), "{waiting}");
    }

    #[test]
    fn elements_are_closed_and_nothing_is_fetched() {
        let telemetry_path = "/metrics".parse().expect("a plain path");
        let kernel = Some("This kernel is <even>.");
        let page = page(&telemetry_path, &[], kernel);
        assert!(page.contains("<p>This kernel is &lt;even&gt;.</p>"), "{page}");
        for element in ["html", "head", "title", "style", "body", "main", "h1", "p", "ul", "li", "a"] {
            let opened =
                page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
            assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        }
        for outside in ["http:", "https:", "src=", "url(", "<script", "<link", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
