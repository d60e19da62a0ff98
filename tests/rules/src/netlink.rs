//! One request over netlink, and its answer (include/uapi/linux/netlink.h).

use std::io::{self, Read as _, Write as _};

use socket2::{Domain, Protocol, Socket, Type};

/// `NLM_F_REQUEST`
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`
pub(crate) const ACK: u16 = 0x4;
/// `struct nlmsghdr`
const HEADER: usize = 16;
/// `struct nlattr`
const ATTRIBUTE: usize = 4;
/// Longer than any answer that is asked for here
const ANSWER: usize = 4096;

/// A socket in the network namespace that the thread was in when it was opened.
pub(crate) struct Netlink(Socket);

impl Netlink {
    /// Opens one for a protocol of netlink.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn open(protocol: i32) -> io::Result<Self> {
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(protocol))).map(Self)
    }

    /// Asks, and gives the body of the answer, which is empty for an acknowledgement.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        // Unconnected and without an address, it goes to the kernel.
        self.0.write_all(&message(kind, flags | REQUEST, body)?)?;
        let mut answer = [0_u8; ANSWER];
        let length = self.0.read(&mut answer)?;
        reply(answer.get(..length).unwrap_or_default())
    }
}

fn message(kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    Ok(bytes)
}

/// The body of an answer, or the error it is: a negative errno, 0 for an acknowledgement.
fn reply(answer: &[u8]) -> io::Result<Vec<u8>> {
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "a short answer over netlink");
    let kind = answer.get(4..).and_then(|bytes| bytes.first_chunk()).ok_or_else(short)?;
    let body = answer.get(HEADER..).ok_or_else(short)?;
    if i32::from(u16::from_ne_bytes(*kind)) != libc::NLMSG_ERROR {
        return Ok(body.to_vec());
    }
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(Vec::new()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(short()),
    }
}

/// An attribute, padded to four bytes.
///
/// # Errors
/// A value longer than an attribute can be.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(ATTRIBUTE + value.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(ATTRIBUTE + value.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_begins_with_its_length() {
        let bytes = message(20, REQUEST | ACK, &[7; 6]).expect("a short message");
        assert_eq!(bytes.first_chunk(), Some(&22_u32.to_ne_bytes()));
        assert_eq!(bytes.get(16..), Some(&[7; 6][..]));
    }

    #[test]
    fn an_answer_is_a_body_an_acknowledgement_or_an_error() {
        let answer = |kind: i32, body: &[u8]| {
            reply(&message(u16::try_from(kind).expect("a kind"), 0, body).expect("short"))
        };
        assert_eq!(answer(20, &[1, 2]).expect("a body"), [1, 2]);
        assert!(answer(libc::NLMSG_ERROR, &0_i32.to_ne_bytes()).expect("an acknowledgement").is_empty());
        let refused = answer(libc::NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes()).expect_err("an error");
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        assert!(reply(&[0; 10]).is_err() && answer(libc::NLMSG_ERROR, &[]).is_err());
    }

    #[test]
    fn an_attribute_is_padded_but_does_not_count_the_padding() {
        let bytes = attribute(3, b"d0\0").expect("a short value");
        assert_eq!(bytes.len(), 8);
        assert_eq!(bytes.first_chunk(), Some(&7_u16.to_ne_bytes()));
    }
}
