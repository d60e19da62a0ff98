//! Who has given sockets open, asked for at the moment it is wanted: the iterator over files, told by inode number which
//! ones, over all processes or one.

use std::{io, io::Read as _, os::fd::AsFd as _};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
    programs::{Iter, ProgramFd},
};
use reuse_ebpf::count::WANTED_MAX;
use reuse_model::{event::Holding, socket::Inode};

use super::{attach::StartError, decode::Decoder, sys};

/// What it iterates over.
pub(super) const ITERATOR: &str = "task_file";

/// The iterator and the map of what is wanted.
pub struct Owners {
    program: ProgramFd,
    /// The program that tells all sockets that hold a port, where it is loaded
    snapshot: Option<ProgramFd>,
    wanted: HashMap<MapData, u64, u8>,
    decoder: Decoder,
}

impl Owners {
    /// Loads the iterator of an object that is loaded already.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn load(ebpf: &mut Ebpf, types: &aya::Btf, decoder: Decoder) -> Result<Self, StartError> {
        let refused = |error| StartError::Program { program: "owners", error: Box::new(error) };
        let program = ebpf.program_mut("owners").ok_or(StartError::Map("owners"))?;
        let program: &mut Iter = program.try_into().map_err(refused)?;
        program.load(ITERATOR, types).map_err(refused)?;
        let program = program.fd().and_then(|fd| Ok(fd.try_clone()?)).map_err(refused)?;
        let wanted = ebpf.take_map("WANTED").ok_or(StartError::Map("WANTED"))?;
        let wanted = wanted.try_into().map_err(|_| StartError::Map("WANTED"))?;
        let snapshot = ebpf.program("snapshot").and_then(|program| program.fd().ok()?.try_clone().ok());
        Ok(Self { program, snapshot, wanted, decoder })
    }

    /// Every descriptor of `pid`, or of all processes, that refers to one of these sockets. What is beyond the first
    /// [`WANTED_MAX`] sockets is not looked for.
    ///
    /// # Errors
    /// The kernel refuses to walk the processes, or there is no such process.
    pub fn find(&mut self, inodes: &[Inode], pid: Option<u32>) -> io::Result<Vec<Holding>> {
        let inodes = inodes.get(..WANTED_MAX as usize).unwrap_or(inodes);
        for inode in inodes {
            self.wanted.insert(inode.0, 1, 0).map_err(io::Error::other)?;
        }
        let found = self.walk(&self.program, pid);
        for inode in inodes {
            // Twice the same inode is removed once.
            let _ = self.wanted.remove(&inode.0);
        }
        found
    }

    /// Every descriptor of one process that refers to a socket holding a port.
    ///
    /// # Errors
    /// The kernel refuses to walk its descriptors, or there is no such process; the program for it is not loaded.
    pub fn process(&self, pid: u32) -> io::Result<Vec<Holding>> {
        let unloaded = || io::Error::new(io::ErrorKind::Unsupported, "no snapshot program");
        self.walk(self.snapshot.as_ref().ok_or_else(unloaded)?, Some(pid))
    }

    fn walk(&self, program: &ProgramFd, pid: Option<u32>) -> io::Result<Vec<Holding>> {
        let link = sys::link_task_iterator(program.as_fd(), pid)?;
        let mut bytes = Vec::new();
        sys::open_iterator(link.as_fd())?.read_to_end(&mut bytes)?;
        Ok(self.decoder.holdings(&bytes))
    }
}
