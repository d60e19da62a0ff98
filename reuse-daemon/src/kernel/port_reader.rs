//! The port of a socket of one's own, read before it asks: what `explain` predicts from.
//!
//! One program, never attached, run in the calling thread; nothing of the host changes and nothing stays behind.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
    programs::{ProgramError, RawTracePoint},
};
use reuse_ebpf::{offsets::Concern, record::Kind};
use reuse_model::{
    endpoint::Endpoint,
    event::{Call, Circumstances, Event, Holding},
    port::Port,
    rulebook::{Contender, Kernel, Request},
    socket::{Inode, SocketFacts},
};

use super::{attach::StartError, decode::Decoder, lean::Lean, owners::Owners, sys};

/// What a socket's request would depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The socket as the kernel would see it
    pub contender: Contender,
    /// The same, whole
    pub socket: SocketFacts,
    /// What is true of the calling thread
    pub circumstances: Circumstances,
    /// The port
    pub port: Port,
}

/// Reads ports. Loading takes some 20 ms, each reading microseconds.
pub struct PortReader {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    decoder: Decoder,
    owners: Owners,
    /// How this kernel decides on what is read
    pub rules: Kernel,
}

impl PortReader {
    /// Loads the program, with the kernel's types, from the file at `btf` if one is named.
    ///
    /// # Errors
    /// No privileges, no BTF, or a kernel that refuses.
    pub fn open(btf: Option<&Path>) -> Result<Self, StartError> {
        let Lean { mut ebpf, decoder, rules, layout, iterator } = Lean::load(btf)?;
        layout.require(&[Concern::Holders, Concern::Circumstances])?;
        let refused = |error| StartError::Program { program: "ask", error: Box::new(error) };
        program(&mut ebpf).and_then(RawTracePoint::load).map_err(refused)?;
        let owners = Owners::load(&mut ebpf, &iterator, decoder)?;
        let ring = ebpf.take_map("RING").ok_or(StartError::Map("RING"))?;
        let ring = ring.try_into().map_err(|_| StartError::Map("RING"))?;
        Ok(Self { ebpf, ring, decoder, owners, rules })
    }

    /// What `socket`'s `request` for `asked` would depend on now. The socket is unbound for [`Request::Bind`]; for
    /// [`Request::Listen`] what it is bound to is what is asked.
    ///
    /// # Errors
    /// The descriptor is no TCP, MPTCP or UDP socket of IPv4 or IPv6.
    pub fn ask(&mut self, socket: BorrowedFd<'_>, request: Request, asked: Endpoint) -> io::Result<Asked> {
        let kind = match request {
            Request::Bind => Kind::Bind,
            Request::Listen => Kind::Listen,
        };
        let [low, high] = words(asked.address);
        let fd = u64::from(socket.as_raw_fd().cast_unsigned());
        let arguments = [fd, kind as u64, low, high, u64::from(asked.port)];
        while self.ring.next().is_some() {}
        let program = program(&mut self.ebpf).and_then(|program| Ok(program.fd()?.try_clone()?));
        let program = program.map_err(io::Error::other)?;
        sys::run_raw_tracepoint(program.as_fd(), &arguments)?;
        let call = self.ring.next().and_then(|record| match self.decoder.event(&record) {
            Ok(Event::Call(call)) => Some(call),
            _ => None,
        });
        call.and_then(|call| answer(*call, asked)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "no TCP, MPTCP or UDP socket of IPv4 or IPv6")
        })
    }

    /// Who has these sockets open, one entry for each descriptor.
    ///
    /// # Errors
    /// The kernel refuses to walk the processes.
    pub fn owners_of(&mut self, inodes: &[Inode]) -> io::Result<Vec<Holding>> {
        self.owners.find(inodes, None)
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, ProgramError> {
    ebpf.program_mut("ask").ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

fn answer(mut call: Call, asked: Endpoint) -> Option<Asked> {
    call.requested = Some(asked);
    let evidence = call.evidence.clone()?;
    Some(Asked {
        contender: Contender::of(&call, Some(&evidence))?,
        circumstances: evidence.circumstances?,
        port: evidence.port.clone()?,
        socket: call.socket?,
    })
}

/// The address as the program takes it: two words, IPv4 mapped.
fn words(address: IpAddr) -> [u64; 2] {
    let octets = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let [low, high] = [octets.first_chunk::<8>(), octets.last_chunk::<8>()];
    [low, high].map(|half| half.copied().map_or(0, u64::from_ne_bytes))
}
