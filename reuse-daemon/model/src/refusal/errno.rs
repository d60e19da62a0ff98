//! Names of Linux errno values, as `asm-generic/errno-base.h` and `errno.h` number them (all architectures the daemon
//! builds for use these).

/// Operation not permitted
pub const EPERM: i32 = 1;
/// Bad file descriptor
pub(super) const EBADF: i32 = 9;
/// No port for the socket that sends
pub const EAGAIN: i32 = 11;
/// Out of memory
pub const ENOMEM: i32 = 12;
/// Permission denied
pub const EACCES: i32 = 13;
/// Bad address
pub(super) const EFAULT: i32 = 14;
/// Device or resource busy
pub(super) const EBUSY: i32 = 16;
/// No such device
pub const ENODEV: i32 = 19;
/// Invalid argument
pub const EINVAL: i32 = 22;
/// Not a socket
pub(super) const ENOTSOCK: i32 = 88;
/// Operation not supported
pub const EOPNOTSUPP: i32 = 95;
/// Address family not supported
pub const EAFNOSUPPORT: i32 = 97;
/// Address already in use
pub const EADDRINUSE: i32 = 98;
/// Cannot assign requested address
pub const EADDRNOTAVAIL: i32 = 99;

/// Name of a positive errno, `EUNKNOWN` where Linux has none: a seccomp filter may return any number, and a label
/// must not follow it there.
#[must_use]
pub fn errno_name(errno: i32) -> &'static str {
    usize::try_from(errno).ok().and_then(|number| NAMES.get(number).copied()).unwrap_or(match errno {
        512 => "ERESTARTSYS",
        513 => "ERESTARTNOINTR",
        514 => "ERESTARTNOHAND",
        516 => "ERESTART_RESTARTBLOCK",
        524 => "ENOTSUPP",
        _ => UNKNOWN,
    })
}

/// The word for a call's result: `success`, or the errno's name.
#[must_use]
pub fn result_name(errno: i32) -> &'static str {
    if errno == 0 { "success" } else { errno_name(errno) }
}

const UNKNOWN: &str = "EUNKNOWN";

/// By number; 41 and 58 were never given out.
#[rustfmt::skip]
const NAMES: [&str; 134] = [
    UNKNOWN, "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF",
    "ECHILD", "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV",
    "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC", "ESPIPE",
    "EROFS", "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK", "ENAMETOOLONG", "ENOLCK", "ENOSYS", "ENOTEMPTY",
    "ELOOP", UNKNOWN, "ENOMSG", "EIDRM", "ECHRNG", "EL2NSYNC", "EL3HLT", "EL3RST", "ELNRNG", "EUNATCH",
    "ENOCSI", "EL2HLT", "EBADE", "EBADR", "EXFULL", "ENOANO", "EBADRQC", "EBADSLT", UNKNOWN, "EBFONT",
    "ENOSTR", "ENODATA", "ETIME", "ENOSR", "ENONET", "ENOPKG", "EREMOTE", "ENOLINK", "EADV", "ESRMNT",
    "ECOMM", "EPROTO", "EMULTIHOP", "EDOTDOT", "EBADMSG", "EOVERFLOW", "ENOTUNIQ", "EBADFD", "EREMCHG", "ELIBACC",
    "ELIBBAD", "ELIBSCN", "ELIBMAX", "ELIBEXEC", "EILSEQ", "ERESTART", "ESTRPIPE", "EUSERS", "ENOTSOCK", "EDESTADDRREQ",
    "EMSGSIZE", "EPROTOTYPE", "ENOPROTOOPT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EOPNOTSUPP", "EPFNOSUPPORT", "EAFNOSUPPORT", "EADDRINUSE", "EADDRNOTAVAIL",
    "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNABORTED", "ECONNRESET", "ENOBUFS", "EISCONN", "ENOTCONN", "ESHUTDOWN", "ETOOMANYREFS",
    "ETIMEDOUT", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "EALREADY", "EINPROGRESS", "ESTALE", "EUCLEAN", "ENOTNAM", "ENAVAIL",
    "EISNAM", "EREMOTEIO", "EDQUOT", "ENOMEDIUM", "EMEDIUMTYPE", "ECANCELED", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED",
    "EOWNERDEAD", "ENOTRECOVERABLE", "ERFKILL", "EHWPOISON",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sit_at_their_numbers() {
        for (number, name) in [
            (EPERM, "EPERM"),
            (EBADF, "EBADF"),
            (ENOMEM, "ENOMEM"),
            (EACCES, "EACCES"),
            (EFAULT, "EFAULT"),
            (EBUSY, "EBUSY"),
            (ENODEV, "ENODEV"),
            (EINVAL, "EINVAL"),
            (ENOTSOCK, "ENOTSOCK"),
            (EOPNOTSUPP, "EOPNOTSUPP"),
            (EAFNOSUPPORT, "EAFNOSUPPORT"),
            (EADDRINUSE, "EADDRINUSE"),
            (EADDRNOTAVAIL, "EADDRNOTAVAIL"),
            (38, "ENOSYS"),
            (111, "ECONNREFUSED"),
            (133, "EHWPOISON"),
            (524, "ENOTSUPP"),
            (134, "EUNKNOWN"),
            (-1, "EUNKNOWN"),
            (i32::MIN, "EUNKNOWN"),
        ] {
            assert_eq!(errno_name(number), name, "{number}");
        }
        assert_eq!(result_name(0), "success");
    }
}
