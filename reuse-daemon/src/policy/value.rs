//! The values of a policy, each with its place.

use std::{fmt::Display, ops::RangeInclusive};

use toml::{Spanned, de::DeValue};

use super::document::At;

/// Every value of a list, or the one that stands alone.
pub(super) fn each<T>(
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&Spanned<DeValue<'_>>) -> Result<T, At>,
) -> Result<Vec<T>, At> {
    match value.get_ref().as_array() {
        None => Ok(vec![read(value)?]),
        Some(list) if list.is_empty() => {
            Err(At::new(value, "the list is empty: name at least one, or leave the line out"))
        }
        Some(list) => list.iter().map(read).collect(),
    }
}

/// The same of words.
pub(super) fn texts<T, E: Display>(
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, At> {
    each(value, |one| read(text(one)?).map_err(|error| At::new(one, error.to_string())))
}

/// A text in quotes.
pub(super) fn text<'a>(value: &'a Spanned<DeValue<'_>>) -> Result<&'a str, At> {
    let found = value.get_ref();
    found.as_str().ok_or_else(|| At::new(value, format!("write a text in quotes, not {}", found.type_str())))
}

/// A port, or the first and the last of several.
pub(super) fn ports(value: &Spanned<DeValue<'_>>) -> Result<RangeInclusive<u16>, At> {
    let refuse =
        || At::new(value, "write a port from 1 to 65535, a list of them, or a range such as \"5000-5100\"");
    let range = match value.get_ref() {
        DeValue::String(text) => {
            let number = |word: &str| word.trim().parse::<u16>().map_err(|_| refuse());
            match text.split_once('-') {
                Some((first, last)) => number(first)?..=number(last)?,
                None => number(text).map(|port| port..=port)?,
            }
        }
        other => {
            let port = integer(other).and_then(|number| u16::try_from(number).ok()).ok_or_else(refuse)?;
            port..=port
        }
    };
    if range.is_empty() {
        let (first, last) = range.into_inner();
        return Err(At::new(value, format!("the range ends before it begins: write \"{last}-{first}\"")));
    }
    if *range.start() == 0 { Err(refuse()) } else { Ok(range) }
}

/// A user, by its number or its name.
pub(super) fn uid(value: &Spanned<DeValue<'_>>, uid_of: &dyn Fn(&str) -> Option<u32>) -> Result<u32, At> {
    match value.get_ref() {
        DeValue::String(name) => uid_of(name).ok_or_else(|| {
            At::new(value, format!("there is no user `{name}` in /etc/passwd: write the uid"))
        }),
        other => integer(other)
            .and_then(|number| u32::try_from(number).ok())
            // -1 as a uid means "leave it" to the kernel.
            .filter(|uid| *uid != u32::MAX)
            .ok_or_else(|| {
                At::new(value, "write a uid from 0 to 4294967294, or the name of a user in quotes")
            }),
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
