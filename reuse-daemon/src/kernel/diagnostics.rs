//! What the kernel side says in words: the programs' own log, and why one was refused.

use std::io;

use aya::{Ebpf, programs::ProgramError};
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;

/// Passes what the programs log to the daemon's own log.
pub(super) fn forward_log(ebpf: &mut Ebpf) {
    let watched = EbpfLogger::init(ebpf).map_err(io::Error::other).and_then(|logger| {
        // SAFETY: the logger owns its descriptor, which stays the same and open until the logger is dropped.
        unsafe { AsyncFd::register(logger) }.map_err(Into::into)
    });
    let mut logger = match watched {
        Ok(logger) => logger,
        Err(error) => {
            log::warn!("no diagnostics from the kernel side: {error}");
            return;
        }
    };
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
}

/// An error with its causes, on one line; of a verifier's log only the end, where it says what it refused.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    const LONGEST: usize = 300;
    if let Some(ProgramError::LoadError { io_error, verifier_log }) = error.downcast_ref() {
        let log = verifier_log.to_string();
        let words: Vec<_> = log.split_whitespace().collect();
        let log = words.join(" ");
        let start = log.char_indices().rev().nth(LONGEST).map_or(0, |(at, _)| at);
        return format!("{io_error}; the verifier's last words: {}", log.get(start..).unwrap_or_default());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}
