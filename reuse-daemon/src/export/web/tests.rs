//! The server over real loopback connections, with an answerer that stands for the tracer.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Server, router};
use crate::query::{Answer, Content, Query, boundary};

/// Longest any wait here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs in a thread of its own until it is dropped.
struct Web {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Web {
    /// Serves on two loopback ports; the answerer echoes the name of each query.
    fn start() -> Self {
        let listeners: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback")).collect();
        let addresses = listeners.iter().map(|l| l.local_addr().expect("bound")).collect();
        let (stop, stopped) = watch::channel(false);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let (asker, mut questions) = boundary();
                let router = router(asker, &"/metrics".parse().expect("plain"));
                let server = Server::new(listeners, router).expect("takes over");
                tokio::spawn(async move {
                    while let Some(asked) = questions.next().await {
                        let answer = answer(asked.query);
                        asked.answer(&answer);
                    }
                });
                server.run(stopped).await;
            });
        });
        Self { addresses, stop, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("valid");
        stream
    }

    /// Sends `request` as it is and reads until the server closes.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).expect("sends");
        read_to_end(&mut stream)
    }

    /// Asks for a path with a good host on a connection of its own.
    fn get(&self, path: &str) -> String {
        self.exchange(
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
        )
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the server ends in peace");
    }
}

fn answer(query: Query) -> Answer {
    let content = match query {
        Query::Metrics => Content::Metrics,
        Query::Landing => Content::Html,
        Query::Healthy => Content::Text,
        Query::Ready => return Answer::unavailable("not ready: Ready\n"),
        Query::Sockets
        | Query::Groups
        | Query::Conflicts
        | Query::Signals
        | Query::TestGroup
        | Query::Status => Content::Json,
    };
    Answer::new(content, format!("{query:?}"))
}

/// Reads what comes until the end; a reset ends it as well.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
    }
    String::from_utf8(bytes).expect("text")
}

/// Status code of a response.
fn status(response: &str) -> u16 {
    let code = response.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no status in {response:?}"))
}

#[test]
fn each_route_asks_its_question() {
    let web = Web::start();
    for (path, content_type, body) in [
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "Metrics"),
        ("/", "text/html; charset=utf-8", "Landing"),
        ("/-/healthy", "text/plain; charset=utf-8", "Healthy"),
        ("/api/v1/sockets", "application/json", "Sockets"),
        ("/api/v1/groups", "application/json", "Groups"),
        ("/api/v1/signals", "application/json", "Signals"),
        ("/api/v1/test-group", "application/json", "TestGroup"),
        ("/api/v1/status", "application/json", "Status"),
    ] {
        let response = web.get(path);
        assert_eq!(status(&response), 200, "{path}: {response}");
        assert!(response.contains(&format!("content-type: {content_type}\r\n")), "{path}: {response}");
        assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{path}: {response}");
        assert!(response.contains("x-content-type-options: nosniff\r\n"), "{path}: {response}");
    }
    let ready = web.get("/-/ready");
    assert_eq!(status(&ready), 503);
    assert!(ready.ends_with("not ready: Ready\n"), "{ready}");
}

#[test]
fn unknown_paths_and_methods_are_named() {
    let web = Web::start();
    for path in ["/nothing", "/metrics/", "/api/v1/", "/api/v1/sockets/1", "/%2e%2e/etc/passwd", "//"] {
        assert_eq!(status(&web.get(path)), 404, "{path}");
    }
    for path in ["/metrics", "/", "/-/healthy", "/api/v1/sockets"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
        );
        let response = web.exchange(request.as_bytes());
        assert_eq!(status(&response), 405, "{path}: {response}");
        assert!(response.contains("allow: GET,HEAD\r\n"), "{path}: {response}");
    }
    let head = web.exchange(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(head.contains("content-length: 7\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn only_page_and_api_look_at_the_host() {
    let web = Web::start();
    let by_host =
        |path: &str, host: &str| {
            status(&web.exchange(
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
            ))
        };
    for path in ["/", "/api/v1/sockets", "/api/v1/status"] {
        assert_eq!(by_host(path, "rebound.example"), 403, "{path}");
        assert_eq!(by_host(path, "127.0.0.1:10542"), 200, "{path}");
        let none = web.exchange(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
        assert_eq!(status(&none), 400, "{path}");
    }
    assert_eq!(by_host("/metrics", "exporter.example:10542"), 200);
    assert_eq!(by_host("/-/healthy", "exporter.example"), 200);
}

#[test]
fn malformed_requests_are_refused_and_do_no_harm() {
    let web = Web::start();
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: l\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ] {
        let response = web.exchange(request);
        assert_eq!(status(&response), 400, "{:?}: {response}", request.escape_ascii().to_string());
    }
    assert_eq!(web.exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "", "HTTP/2 has no answer in HTTP/1");
    let mut many = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    many.extend((0..100).flat_map(|n| format!("X-{n}: v\r\n").into_bytes()));
    many.extend(b"\r\n");
    assert_eq!(status(&web.exchange(&many)), 431);
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(20_000));
    assert!((400..500).contains(&status(&web.exchange(long.as_bytes()))));
    assert_eq!(status(&web.get("/metrics")), 200, "still serving");
}

#[test]
fn connections_are_kept_and_requests_may_be_pipelined() {
    let web = Web::start();
    let twice = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2)
        + "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let responses = web.exchange(twice.as_bytes());
    assert_eq!(responses.matches("HTTP/1.1 200 OK").count(), 3, "{responses}");
    assert!(responses.ends_with("Healthy"), "{responses}");
}

#[test]
fn a_slow_header_is_cut_off_while_others_are_served() {
    let web = Web::start();
    let mut slow = web.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: loc").expect("sends");
    assert_eq!(status(&web.get("/metrics")), 200);
    let began = Instant::now();
    let answer = read_to_end(&mut slow);
    assert!(began.elapsed() < Duration::from_secs(10), "cut off after {:?}", began.elapsed());
    assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
}

#[test]
fn a_crowd_of_silent_connections_only_delays_others() {
    let web = Web::start();
    let crowd: Vec<_> = (0..160).map(|_| web.connect()).collect();
    let began = Instant::now();
    assert_eq!(status(&web.get("/metrics")), 200);
    // Without a limit nothing would have had to wait for silent ones to be cut off.
    assert!(began.elapsed() > Duration::from_secs(2), "served at once: no limit on connections");
    drop(crowd);
}

#[test]
fn a_body_nobody_asked_for_is_not_collected() {
    let web = Web::start();
    let mut stream = web.connect();
    let head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n";
    stream.write_all(head).expect("sends");
    let mut response = [0; 12];
    stream.read_exact(&mut response).expect("answered before the body came");
    assert_eq!(&response, b"HTTP/1.1 200");
    let chunk = [0; 64 * 1024];
    // Closed on the server's side: sending fails long before the promised length.
    let sent = (0..10_000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 10_000, "the server read {sent} chunks of a body");
}

#[test]
fn every_listener_serves_and_a_stop_ends_all() {
    let web = Web::start();
    for address in &web.addresses {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sends");
        assert_eq!(status(&read_to_end(&mut stream)), 200);
    }
    let mut kept = web.connect();
    kept.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("sends");
    let mut first = [0; 12];
    kept.read_exact(&mut first).expect("answered");
    let addresses = web.addresses.clone();
    let began = Instant::now();
    drop(web);
    assert!(began.elapsed() < Duration::from_secs(2), "a kept connection delays no stop");
    for address in addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} is closed");
    }
    let _ = kept.shutdown(Shutdown::Both);
}
