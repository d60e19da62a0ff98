//! A socket that was changed by another call than a bind or listen.

use reuse_ebpf::{record::TouchRecord, touch::Touched as Raw};
use reuse_model::{
    event::{Caller, Comm, Event, Moment, Touch, Touched},
    socket::{Cookie, Inode},
};

use super::{DecodeError, SK_FORCE_REUSE};
use crate::kernel::bytes::Wire as _;

/// The event of such a record.
pub(super) fn event(bytes: &[u8]) -> Result<Event, DecodeError> {
    let record = TouchRecord::read(bytes).ok_or(DecodeError::Short(bytes.len()))?;
    Ok(Event::Touch(Box::new(Touch {
        what: what(record.what).ok_or(DecodeError::Touched(record.what))?,
        inode: Inode(record.inode),
        cookie: Cookie(record.cookie),
        caller: Caller {
            pid: record.pid,
            tid: record.tid,
            comm: Comm(record.comm),
            uid: record.uid,
            cgroup: record.cgroup,
        },
        forced: record.reuse == SK_FORCE_REUSE,
        at: Moment(record.boottime_ns),
    })))
}

fn what(number: u8) -> Option<Touched> {
    let raw = Raw::ALL.into_iter().find(|raw| *raw as u8 == number)?;
    Some(match raw {
        Raw::ReuseAddr => Touched::ReuseAddr,
        Raw::ReusePort => Touched::ReusePort,
        Raw::AttachProgram => Touched::AttachProgram,
        Raw::DetachProgram => Touched::DetachProgram,
        Raw::IncomingCpu => Touched::IncomingCpu,
        Raw::Device => Touched::Device,
        Raw::Repair => Touched::Repair,
        Raw::Multicast => Touched::Multicast,
        Raw::Uid => Touched::Uid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as it comes, of this change.
    fn bytes(what: u8, reuse: u8) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<TouchRecord>()];
        bytes[std::mem::offset_of!(TouchRecord, inode)] = 7;
        bytes[std::mem::offset_of!(TouchRecord, what)] = what;
        bytes[std::mem::offset_of!(TouchRecord, reuse)] = reuse;
        bytes
    }

    #[test]
    fn what_changed_of_which_socket() {
        for raw in Raw::ALL {
            let Ok(Event::Touch(touch)) = event(&bytes(raw as u8, SK_FORCE_REUSE)) else { panic!("{raw:?}") };
            assert_eq!(format!("{:?}", touch.what), format!("{raw:?}"));
            assert_eq!((touch.inode, touch.forced), (Inode(7), true));
        }
        let Ok(Event::Touch(touch)) = event(&bytes(1, 1)) else { panic!("SO_REUSEADDR") };
        assert!(!touch.forced, "an option of its own is no force");
    }

    #[test]
    fn an_unknown_change_is_refused() {
        assert_eq!(event(&bytes(0, 0)), Err(DecodeError::Touched(0)));
        assert_eq!(event(&bytes(10, 0)), Err(DecodeError::Touched(10)));
        assert_eq!(event(&[0; 8]), Err(DecodeError::Short(8)));
    }
}
