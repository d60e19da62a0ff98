//! A small HTTP/1.1 client over one connection a request: enough for the daemon's own endpoints, and raw enough to send
//! requests no proper client would.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer, with its body decoded from chunks where the server sent chunks.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code, e.g. 200.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Response {
    /// First header of that name, case-insensitive.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// `GET target` from `server`.
///
/// # Errors
/// When the server cannot be reached or does not answer HTTP.
pub fn get(server: SocketAddr, target: &str) -> Result<Response> {
    request(server, "GET", target)
}

/// A request without a body.
///
/// # Errors
/// When the server cannot be reached or does not answer HTTP.
pub fn request(server: SocketAddr, method: &str, target: &str) -> Result<Response> {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    let answer = exchange(server, head.as_bytes())?;
    parse(&answer).with_context(|| format!("{method} http://{server}{target}"))
}

/// Sends `bytes` as they are, and gives whatever comes back until the server closes.
///
/// # Errors
/// When the connection fails, or the server neither answers nor closes in time.
pub fn exchange(server: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = open(server)?;
    // A server may refuse, answer and close before it has read all: what it answered is what counts.
    let sent = stream.write_all(bytes);
    if sent.is_ok() && !bytes.ends_with(b"\r\n\r\n") {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error).with_context(|| format!("reading the answer of {server}")),
    }
}

/// A connection with time limits, for requests sent piece by piece.
///
/// # Errors
/// When the server cannot be reached.
pub fn open(server: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&server, TIMEOUT).with_context(|| format!("connecting to {server}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Parses one whole answer.
///
/// # Errors
/// When it is not HTTP/1.x, or its chunks are broken off.
pub fn parse(answer: &[u8]) -> Result<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("no end of the header")?;
    let head = std::str::from_utf8(&answer[..end]).context("header")?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().context("no status line")?;
    let mut words = status_line.split(' ');
    if !words.next().is_some_and(|version| version.starts_with("HTTP/1.")) {
        bail!("not HTTP/1.x: {status_line:?}");
    }
    let status = words.next().context("no status")?.parse().with_context(|| format!("{status_line:?}"))?;
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').with_context(|| format!("header line {line:?}"))?;
            Ok((name.to_owned(), value.trim().to_owned()))
        })
        .collect::<Result<_>>()?;
    let mut response = Response { status, headers, body: String::new() };
    let body = &answer[end + 4..];
    let chunked =
        response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = if chunked { dechunk(body)? } else { body.to_vec() };
    response.body = String::from_utf8(body).context("body")?;
    Ok(response)
}

fn dechunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").context("no chunk size")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..line])?.trim(), 16).context("chunk size")?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).context("chunk broken off")?);
        rest = rest.get(size + 2..).context("chunk broken off")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_plain_and_chunked_answers() {
        let plain = parse(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno").expect("plain");
        assert_eq!((plain.status, plain.body.as_str()), (404, "no"));
        assert_eq!(plain.header("content-type"), Some("text/plain"));

        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).expect("chunked").body, "abcde");
        assert!(parse(&chunked[..chunked.len() - 12]).is_err(), "a broken off body is no answer");
    }
}
