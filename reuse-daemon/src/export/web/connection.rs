//! One connection, from its accept to its end, within limits that no client can stretch.

use std::{pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, sync::watch, time::sleep};

/// How long a client may take over one request's header, and how long it may stay silent between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How old a connection may grow before it is closed after the response under way; a scraper connects anew.
const MAX_AGE: Duration = Duration::from_secs(60);
/// How long the response under way may then take; after that the connection is dropped.
const LAST_RESPONSE: Duration = Duration::from_secs(20);
/// Most bytes of a request's header, and of what may be read ahead of need.
const MAX_HEADER: usize = 16 * 1024;
/// Most header lines of a request.
const MAX_HEADER_LINES: usize = 64;

/// Serves one connection until it ends, grows too old, or `stop` says so.
pub(super) async fn serve(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .max_headers(MAX_HEADER_LINES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = sleep(MAX_AGE) => None,
        // A sender that is gone means stop as well.
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = sleep(LAST_RESPONSE) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        // A client's doing, at a rate the client chooses: nothing for the log of an operator.
        log::trace!("connection: {error}");
    }
}
