//! Accepting: who may ask, and how many at once.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    LocalSocket,
    connection::{self, Sources},
};

/// Most clients at once, those that follow among them.
const CLIENTS: usize = 32;
/// Pause after a failed accept, which for want of descriptors or memory would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long stopping waits for answers under way.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// The server of the local socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    sources: Arc<Sources>,
    /// Removes the file when the server goes
    _file: LocalSocket,
}

impl Server {
    /// Takes over a listening socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be registered with the runtime.
    pub fn new(socket: LocalSocket, sources: Sources) -> io::Result<Self> {
        let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
        Ok(Self { listener, sources: Arc::new(sources), _file: socket })
    }

    /// Serves until `stop` turns true (or its sender goes), then lets answers under way end, for 1 s at most.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CLIENTS));
        let own = nix::unistd::geteuid().as_raw();
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = clients.join_next() => continue,
                // A sender that is gone means stop as well.
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::debug!("accept on the local socket: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = admit(&stream, own).and_then(|()| {
                let place = Arc::clone(&places).try_acquire_owned();
                place.map_err(|_| format!("{CLIENTS} clients are connected already; try again"))
            });
            let sources = Arc::clone(&self.sources);
            clients.spawn(async move {
                match place {
                    Ok(_place) => connection::serve(stream, &sources).await,
                    Err(why) => connection::turn_away(stream, why).await,
                }
            });
        }
        let ended = timeout(STOP_PATIENCE, async { while clients.join_next().await.is_some() {} });
        if ended.await.is_err() {
            log::debug!("stopping with answers on the local socket still under way");
        }
    }
}

/// Lets root and the daemon's own user in, and says to others who they are.
fn admit(stream: &UnixStream, own: u32) -> Result<(), String> {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => Ok(()),
        Ok(peer) => Err(format!(
            "uid {} may not ask: answers carry other users' command lines, so only root and the daemon's own user \
             (uid {own}) may",
            peer.uid()
        )),
        Err(error) => Err(format!("cannot see who asks: {error}")),
    }
}
