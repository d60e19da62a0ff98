//! What a tracepoint's `format` file says of its record: one line for each field, with offset and size.
//!
//! The fields that all records begin with are not the same everywhere: kernels with real-time patches, as enterprise
//! distributions have them, add some, and the tracepoint's own lie further behind.

use thiserror::Error;

/// Furthest a field may begin: tens of bytes further than anywhere seen.
const FURTHEST: u32 = 128;

/// Why the result of a system call cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(in crate::kernel) enum FormatError {
    /// No such field
    #[error("the tracepoint's format has no field `ret`")]
    Missing,
    /// Not one aligned word
    #[error("the field `ret` is {size} bytes at {offset}, not one aligned word")]
    Shape {
        /// Bytes from the start of the record
        offset: u32,
        /// Bytes
        size: u32,
    },
}

/// Offset in bytes of the result in the record of a `syscalls:sys_exit_*` tracepoint.
///
/// # Errors
/// There is none, or it is no aligned 64-bit word.
pub(in crate::kernel) fn exit_result(format: &str) -> Result<u32, FormatError> {
    let (offset, size) = format.lines().find_map(|line| field(line, "ret")).ok_or(FormatError::Missing)?;
    let word = u64::BITS / 8;
    if size != word || offset % word != 0 || offset > FURTHEST {
        return Err(FormatError::Shape { offset, size });
    }
    Ok(offset)
}

/// Offset and size, of a line such as `field:long ret; offset:16; size:8; signed:1;` if it is about this field.
fn field(line: &str, name: &str) -> Option<(u32, u32)> {
    let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
    if declaration.split_whitespace().next_back()? != name {
        return None;
    }
    let number = |key: &str| {
        rest.split(';').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix(':')?.parse().ok())
    };
    Some((number("offset")?, number("size")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: &str = "name: sys_exit_bind\nID: 1377\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;\n\n\
        print fmt: \"0x%lx\", REC->ret\n";

    /// With `more` bytes of common fields, as a kernel with real-time patches has them.
    fn with_common_fields(more: u32) -> String {
        let own = format!(
            "\tfield:unsigned char common_migrate_disable;\toffset:8;\tsize:1;\tsigned:0;\n\
             \tfield:unsigned char common_preempt_lazy_count;\toffset:9;\tsize:1;\tsigned:0;\n\n\
             \tfield:int __syscall_nr;\toffset:{};\tsize:4;\tsigned:1;\n\
             \tfield:long ret;\toffset:{};\tsize:8;\tsigned:1;\n",
            8 + more,
            (12 + more).next_multiple_of(8)
        );
        let at = USUAL.find("\n\tfield:int __syscall_nr").expect("the usual field");
        format!("{}\n{own}", &USUAL[..at])
    }

    #[test]
    fn the_result_is_where_the_format_says() {
        assert_eq!(exit_result(USUAL), Ok(16));
        assert_eq!(exit_result(&with_common_fields(4)), Ok(16));
        assert_eq!(exit_result(&with_common_fields(8)), Ok(24));
    }

    #[test]
    fn what_is_no_aligned_word_is_refused() {
        assert_eq!(exit_result(""), Err(FormatError::Missing));
        assert_eq!(exit_result(&USUAL.replace("long ret;", "long returned;")), Err(FormatError::Missing));
        let odd = USUAL.replace("offset:16;\tsize:8", "offset:12;\tsize:8");
        assert_eq!(exit_result(&odd), Err(FormatError::Shape { offset: 12, size: 8 }));
        let short = USUAL.replace("offset:16;\tsize:8", "offset:16;\tsize:4");
        assert_eq!(exit_result(&short), Err(FormatError::Shape { offset: 16, size: 4 }));
        let far = USUAL.replace("offset:16", "offset:4294967288");
        assert!(exit_result(&far).is_err());
        assert_eq!(exit_result(&USUAL.replace("offset:16", "offset:99999999999")), Err(FormatError::Missing));
    }

    proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "(field:|long ret|;|offset:|size:|[0-9]{1,12}|\t|\n|\\PC){0,60}") {
            if let Ok(offset) = exit_result(&text) {
                prop_assert!(offset <= FURTHEST && offset % 8 == 0);
            }
        }
    }
}
