//! Connections and datagrams at the members: who accepted or received what, and from whom.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use reuse_model::{endpoint::Transport, socket::Cookie, test_group::TestGroup as Key};
use socket2::SockRef;
use tokio::{
    io::ReadBuf,
    net::{TcpListener, TcpStream, UdpSocket},
};

use super::listeners::{Group, Member};

/// A group whose sockets the runtime watches.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) key: Key,
    pub(super) local: SocketAddr,
    pub(super) cookies: Vec<Cookie>,
    members: Vec<Inlet>,
}

#[derive(Debug)]
enum Inlet {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Something that came to a member.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Slot of the member
    pub(super) member: usize,
    pub(super) peer: SocketAddr,
    pub(super) content: Content,
}

/// What came.
#[derive(Debug)]
pub(super) enum Content {
    Connection(TcpStream),
    /// The first bytes of a datagram, and how many there are of them
    Datagram([u8; Self::KEPT], usize),
}

impl Content {
    /// Bytes kept of a datagram: more than a probe has.
    const KEPT: usize = 16;
}

impl Watched {
    /// Hands the group's sockets to the runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch one of them.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub(super) fn new(group: Group) -> io::Result<Self> {
        let key = Key { transport: group.transport, family: group.family };
        let mut watched = Self { key, local: group.local, cookies: Vec::new(), members: Vec::new() };
        for member in group.members {
            watched.add(member)?;
        }
        Ok(watched)
    }

    /// Takes in a member that joined last.
    ///
    /// # Errors
    /// As [`Self::new`]; the member is closed then.
    pub(super) fn add(&mut self, member: Member) -> io::Result<()> {
        let inlet = match self.key.transport {
            Transport::Tcp => TcpListener::from_std(member.socket.into()).map(Inlet::Tcp),
            Transport::Udp => UdpSocket::from_std(member.socket.into()).map(Inlet::Udp),
        };
        self.members.push(inlet?);
        self.cookies.push(member.cookie);
        Ok(())
    }

    /// Closes the member at this place. The last one takes its place, as in the kernel's array
    /// (net/core/sock_reuseport.c, `__reuseport_detach_sock`, Linux 6.18).
    pub(super) fn close(&mut self, place: usize) {
        drop(self.members.swap_remove(place));
        self.cookies.swap_remove(place);
    }

    /// Waits for the next arrival at any member.
    pub(super) async fn next(&self) -> io::Result<Arrival> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Polls every member; of those that have something the first answers.
    fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        for (member, inlet) in self.members.iter().enumerate() {
            if let Poll::Ready(arrived) = inlet.poll(context) {
                return Poll::Ready(arrived.map(|(content, peer)| Arrival { member, peer, content }));
            }
        }
        Poll::Pending
    }
}

/// Waits for the next arrival at any member of any of `groups`, of which there is at least one.
pub(super) async fn any(groups: &[Watched]) -> (&Watched, io::Result<Arrival>) {
    poll_fn(|context| {
        for group in groups {
            if let Poll::Ready(arrived) = group.poll(context) {
                return Poll::Ready((group, arrived));
            }
        }
        Poll::Pending
    })
    .await
}

impl Inlet {
    fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<(Content, SocketAddr)>> {
        match self {
            Self::Tcp(listener) => loop {
                match listener.poll_accept(context) {
                    Poll::Ready(Ok((stream, peer))) => {
                        return Poll::Ready(
                            reset_on_close(&stream).map(|()| (Content::Connection(stream), peer)),
                        );
                    }
                    // The peer left before it was accepted.
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            },
            Self::Udp(socket) => {
                let mut kept = [0; Content::KEPT];
                let mut buffer = ReadBuf::new(&mut kept);
                let received = socket.poll_recv_from(context, &mut buffer);
                let length = buffer.filled().len();
                received.map_ok(|peer| (Content::Datagram(kept, length), peer))
            }
        }
    }
}

/// Makes closing send a reset: whoever closes first would otherwise leave a TIME_WAIT socket on the group's port.
fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}
