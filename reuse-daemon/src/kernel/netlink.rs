//! One dump over netlink: messages and attributes as bytes, without meaning.
//!
//! Decoding is total: what is cut short or malformed ends the iteration (include/uapi/linux/netlink.h).

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// `struct nlmsghdr`
const HEADER: usize = 16;
/// `struct nlattr`
const ATTRIBUTE: usize = 4;
/// Type of an attribute without its two flag bits (`NLA_TYPE_MASK`)
const TYPE_MASK: u16 = 0x3fff;
/// The kernel fills at most this much at once (net/netlink/af_netlink.c, `netlink_dump`: 32 KiB)
const BUFFER: usize = 64 << 10;

/// A netlink socket with one request under way at a time.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// A socket in the calling thread's network namespace.
    pub(super) fn open(protocol: SockProtocol) -> io::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        Ok(Self(fd))
    }

    /// Asks for everything of a type that fits `body`, and gives each message of the answer, by type and body, to `each`.
    ///
    /// # Errors
    /// The kernel's, as it answers.
    pub(super) fn dump(&self, kind: u16, body: &[u8], mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
        let message = message(kind, flags as u16, body);
        sendto(self.0.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let read = buffer.get(..length).unwrap_or_default();
            for (kind, body) in Messages(read) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => return error(body),
                    _ => each(kind, body),
                }
            }
        }
    }
}

/// A whole message; the sequence number and sender are for those who have several requests under way.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// `NLMSG_ERROR`: a negative errno, 0 for an acknowledgement.
fn error(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The messages of one read: type and body.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = u32::from_ne_bytes(*self.0.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*self.0.get(4..)?.first_chunk()?);
        let body = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    }
}

/// The attributes behind the fixed part of a message: type and content.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let content = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_MASK, content))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_sent_is_read_back() {
        let mut body = vec![9, 0, 7, 0];
        body.extend(b"abcde\0\0\0");
        body.extend([4, 0, 3, 0x80]);
        let two = [message(20, 0, &body), message(21, 0, &[])].concat();
        let read: Vec<_> = Messages(&two).collect();
        assert_eq!(read, [(20, body.as_slice()), (21, &[])]);
        let found: Vec<_> = attributes(&body).collect();
        assert_eq!(found, [(7, b"abcde".as_slice()), (3, &[])]);
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            for (_, body) in Messages(&bytes) {
                prop_assert!(body.len() <= bytes.len());
            }
            prop_assert!(attributes(&bytes).count() <= bytes.len() / ATTRIBUTE);
        }
    }
}
