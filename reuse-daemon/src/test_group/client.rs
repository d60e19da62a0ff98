//! The sending end of a probe: a socket of its own for each, so that each has a source port of its own.

use std::{io, net::SocketAddr, time::Duration};

use reuse_model::endpoint::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::arrivals::{Arrival, Content};

/// Bytes that no other sender knows.
pub(super) type Nonce = [u8; 8];

/// A probe under way.
#[derive(Debug)]
pub(super) struct Client {
    socket: Socket,
    /// The address and port the kernel chose for it
    pub(super) source: SocketAddr,
    nonce: Nonce,
}

impl Client {
    /// Sends a datagram, or begins to connect.
    ///
    /// `from`: the source port, `None` for one of the kernel's choice.
    ///
    /// Closing a TCP client resets the connection, so that no TIME_WAIT socket stays behind: probes at the default
    /// rate would keep some 240 of them.
    pub(super) fn send(
        transport: Transport,
        from: Option<u16>,
        target: SocketAddr,
        nonce: Nonce,
    ) -> io::Result<Self> {
        let (kind, protocol) = match transport {
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
        };
        let socket = Socket::new(Domain::for_address(target), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if transport == Transport::Tcp {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        if let Some(port) = from {
            socket.bind(&SocketAddr::new(target.ip(), port).into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let source = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        if transport == Transport::Udp {
            socket.send(&nonce)?;
        }
        Ok(Self { socket, source, nonce })
    }

    /// Whether this is what was sent: it comes from here, and carries the nonce over a connection as well.
    pub(super) async fn recognises(&self, arrival: &mut Arrival) -> io::Result<bool> {
        if arrival.peer != self.source {
            return Ok(false);
        }
        match &mut arrival.content {
            Content::Datagram(bytes, length) => Ok(bytes.get(..*length) == Some(self.nonce.as_slice())),
            Content::Connection(stream) => self.is_connected_to(stream).await,
        }
    }

    async fn is_connected_to(&self, stream: &mut TcpStream) -> io::Result<bool> {
        self.socket.send(&self.nonce)?;
        let mut received = Nonce::default();
        stream.read_exact(&mut received).await?;
        Ok(received == self.nonce)
    }
}
