//! The command line tool's end of the local socket.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::export::local::protocol::{Begun, Failure, Request};

/// How long the daemon may be silent while it makes its answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same where it has to do something first.
const LONG_PATIENCE: Duration = Duration::from_secs(120);
/// Longer than any [`Failure`], shorter than a search for one in a long answer is worth.
const FAILURE_LIMIT: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there
    #[error(
        "no daemon answers at {} ({reason}); start it with `sudo reuse-daemon run`, or name its socket with --socket",
        path.display()
    )]
    NotRunning {
        /// The path
        path: PathBuf,
        /// What the system says
        reason: io::Error,
    },
    /// The file is another user's
    #[error("only root and the daemon's own user may ask at {}: use sudo", .0.display())]
    NotAllowed(PathBuf),
    /// The daemon says no
    #[error("the daemon at {} does not answer: {why}", path.display())]
    Refused {
        /// The path
        path: PathBuf,
        /// Its words
        why: String,
    },
    /// The connection broke, or what came is no answer
    #[error("the answer from {} cannot be read: {reason}", path.display())]
    Broken {
        /// The path
        path: PathBuf,
        /// What the system says
        reason: io::Error,
    },
    /// The daemon has stopped
    #[error("the daemon at {} has stopped", .0.display())]
    Stopped(PathBuf),
}

/// Asks for a document, and gives its JSON, without the newline at its end.
///
/// # Errors
/// See [`AskError`].
pub fn ask(path: &Path, request: &Request) -> Result<Vec<u8>, AskError> {
    receive(path, send(path, request, PATIENCE)?)
}

/// As [`ask`], for what the daemon takes its time over.
///
/// # Errors
/// See [`AskError`].
pub fn ask_patiently(path: &Path, request: &Request) -> Result<Vec<u8>, AskError> {
    receive(path, send(path, request, LONG_PATIENCE)?)
}

fn receive(path: &Path, mut stream: UnixStream) -> Result<Vec<u8>, AskError> {
    let broken = |reason| AskError::Broken { path: path.to_owned(), reason };
    let mut document = Vec::new();
    match stream.read_to_end(&mut document) {
        Ok(_) => {}
        // One that turns a client away does not wait for its request.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !document.is_empty() => {}
        Err(error) => return Err(broken(error)),
    }
    match document.pop() {
        Some(b'\n') => checked(path, document),
        _ => Err(broken(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Refusals as they happen, one JSON object each.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Begins to follow.
///
/// # Errors
/// See [`AskError`].
pub fn follow(path: &Path, request: &Request) -> Result<Lines, AskError> {
    let stream = send(path, request, PATIENCE)?;
    let mut lines = Lines { path: path.to_owned(), stream: BufReader::new(stream) };
    let first = checked(path, lines.next()?)?;
    let begun: Begun = serde_json::from_slice(&first)
        .map_err(|error| AskError::Broken { path: path.to_owned(), reason: error.into() })?;
    if begun.r#type != Begun::TYPE {
        let reason = io::Error::new(io::ErrorKind::InvalidData, begun.r#type);
        return Err(AskError::Broken { path: path.to_owned(), reason });
    }
    // From here on silence means that nothing happens.
    lines.silence(None)?;
    Ok(lines)
}

impl Lines {
    /// The next one, without its newline.
    ///
    /// # Errors
    /// The daemon has stopped, or the connection broke.
    #[expect(clippy::should_implement_trait, reason = "an iterator has no place for the error at the end")]
    pub fn next(&mut self) -> Result<Vec<u8>, AskError> {
        let mut line = Vec::new();
        let broken = |reason| AskError::Broken { path: self.path.clone(), reason };
        self.stream.read_until(b'\n', &mut line).map_err(broken)?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            Some(_) => Err(broken(io::ErrorKind::UnexpectedEof.into())),
            None => Err(AskError::Stopped(self.path.clone())),
        }
    }

    fn silence(&self, most: Option<Duration>) -> Result<(), AskError> {
        let broken = |reason| AskError::Broken { path: self.path.clone(), reason };
        self.stream.get_ref().set_read_timeout(most).map_err(broken)
    }
}

fn send(path: &Path, request: &Request, patience: Duration) -> Result<UnixStream, AskError> {
    let mut stream = UnixStream::connect(path).map_err(|reason| match reason.kind() {
        io::ErrorKind::PermissionDenied => AskError::NotAllowed(path.to_owned()),
        _ => AskError::NotRunning { path: path.to_owned(), reason },
    })?;
    let broken = |reason| AskError::Broken { path: path.to_owned(), reason };
    stream.set_read_timeout(Some(patience)).map_err(broken)?;
    let mut line = serde_json::to_vec(request).map_err(|error| broken(error.into()))?;
    line.push(b'\n');
    match stream.write_all(&line) {
        Ok(()) => Ok(stream),
        // It was turned away: the answer says why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(stream),
        Err(error) => Err(broken(error)),
    }
}

/// The document, unless it says why there is none.
fn checked(path: &Path, document: Vec<u8>) -> Result<Vec<u8>, AskError> {
    if document.len() <= FAILURE_LIMIT
        && let Ok(failure) = serde_json::from_slice::<Failure>(&document)
    {
        return Err(AskError::Refused { path: path.to_owned(), why: failure.error });
    }
    Ok(document)
}
