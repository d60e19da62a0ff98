//! Accepting: every listener takes connections while fewer than the limit are open; the rest wait in the backlog.

use std::{io, net::TcpListener as BoundListener, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::connection;

/// Most connections open at once, all listeners together.
const MAX_CONNECTIONS: u32 = 128;
/// Pause after a failed accept, which for want of descriptors or memory would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long stopping waits for responses under way.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Why the server cannot take over its listeners.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP on the listener that was made: {0}")]
pub struct ServeError(#[from] io::Error);

/// An HTTP server on listeners that are bound already.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    router: Router,
}

impl Server {
    /// Takes over bound, listening sockets. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a listener cannot be made non-blocking or registered with the runtime.
    pub fn new(listeners: Vec<BoundListener>, router: Router) -> Result<Self, ServeError> {
        let listeners = listeners
            .into_iter()
            .map(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { listeners, router })
    }

    /// Serves until `stop` turns true (or its sender goes), then lets responses under way end, for 3 s at most.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        // Each listener holds the room for its next connection while it waits for one.
        let all = MAX_CONNECTIONS + u32::try_from(self.listeners.len()).unwrap_or(u32::MAX - MAX_CONNECTIONS);
        let room = Arc::new(Semaphore::new(all as usize));
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, self.router.clone(), Arc::clone(&room), stop.clone()));
        }
        while accepting.join_next().await.is_some() {}
        // All room is free again when the last connection has ended.
        if timeout(STOP_PATIENCE, room.acquire_many(all)).await.is_err() {
            log::debug!("stopping with HTTP responses still under way");
        }
    }
}

/// Accepts on one listener and serves each connection in a task of its own.
async fn accept(
    listener: TcpListener,
    router: Router,
    room: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            io::Result::Ok((place, stream))
        };
        let next = tokio::select! {
            next = next => next,
            // A sender that is gone means stop as well.
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match next {
            Ok((place, stream)) => {
                let served = connection::serve(stream, router.clone(), stop.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                log::debug!("accept on the HTTP listener: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
